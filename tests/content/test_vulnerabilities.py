"""The OVAL definitions of scripts/debian-oval, evaluated on the two real Debian 12 systems that they were made from."""
import pathlib
import shutil
import subprocess
import sys
import unittest
import xml.etree.ElementTree as ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import inspection

RESULTS = "{http://oval.mitre.org/XMLSchema/oval-results-5}"


def prepare():
    """The path of the definitions; makes images and definitions when they are not there."""
    subprocess.run([inspection.PROJECT / "scripts/debian-images"], check=True, stdout=subprocess.DEVNULL)
    out = subprocess.run([inspection.PROJECT / "scripts/debian-oval"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return pathlib.Path(out.splitlines()[-1])


def vulnerable(definitions, system):
    """(ids of the definitions that hold, number of all) on a system of scripts/debian-images; of its files only those that the probes read."""
    with inspection.work_directory() as work:
        root = pathlib.Path(work) / "root"
        (root / "var/lib/dpkg").mkdir(parents=True)
        shutil.copy(inspection.cache() / "debian" / system / "var/lib/dpkg/status", root / "var/lib/dpkg/status")
        shutil.copy(definitions, pathlib.Path(work) / definitions.name)
        inspection.write_state(work)
        inspection.oscap(work, "oval", "eval", "--results", "/mnt/results.xml", f"/mnt/{definitions.name}")
        found = ElementTree.parse(pathlib.Path(work) / "results.xml").iter(f"{RESULTS}definition")
        results = {definition.get("definition_id"): definition.get("result") for definition in found}
    unexpected = {result for result in results.values()} - {"true", "false"}
    if unexpected:
        raise AssertionError(f"definitions ended with {unexpected}")
    return {name for name, result in results.items() if result == "true"}, len(results)


class TheDefinitions(unittest.TestCase):
    def test_hold_for_the_point_release_and_for_none_of_its_packages_after_the_upgrade(self):
        definitions = prepare()
        before, count = vulnerable(definitions, "main")
        after, count_after = vulnerable(definitions, "upgraded")
        self.assertEqual((len(before), count_after), (count, count))
        self.assertGreaterEqual(count, 5)
        self.assertEqual(after, set())


if __name__ == "__main__":
    unittest.main()
