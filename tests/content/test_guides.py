"""guides.toml names only streams and profiles that the inspector's image has."""
import bz2
import pathlib
import re
import sys
import tomllib
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import inspection


def profiles(stream):
    """The ids of a packed stream's profiles. They stand before the first group, so not all of its 25 MB have to be unpacked."""
    text = b""
    with bz2.open(stream) as unpacked:
        while not re.search(rb"Group id=", text) and (block := unpacked.read(1 << 20)):
            text += block
    return {found.decode() for found in re.findall(rb'<(?:\w|[.-])*:?Profile id="([^"]+)"', text)}


class TheGuides(unittest.TestCase):
    def setUp(self):
        self.guides = tomllib.loads(inspection.GUIDES.read_text())["guide"]
        self.streams = inspection.inspector_root() / inspection.STREAMS

    def test_are_streams_of_the_image_with_the_profile_named(self):
        texts = {}
        for guide in self.guides:
            stream = guide["stream"]
            if stream not in texts:
                texts[stream] = profiles(self.streams / stream)
            with self.subTest(guide=guide["title"]):
                self.assertIn(guide["profile"], texts[stream])

    def test_name_each_distribution_and_version_once(self):
        keys = [(guide["id"], guide["version"]) for guide in self.guides]
        self.assertEqual(len(keys), len(set(keys)))
        self.assertTrue(all(version for _, version in keys))

    def test_hold_operating_systems_only(self):
        present = {path.name for path in self.streams.iterdir()}
        self.assertFalse([name for name in present if re.search(r"ocp|eks|firefox|chromium|macos|-1\.2", name)])
        self.assertTrue({"ssg-debian12-ds.xml.bz2", "ssg-ubuntu2404-ds.xml.bz2", "ssg-rhel9-ds.xml.bz2"} <= present)


if __name__ == "__main__":
    unittest.main()
