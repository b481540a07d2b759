"""What the server chooses from a feed has, definition by definition, the results that OpenSCAP gives for the whole feed."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import feeds
import inspection
from feeds import ALMA_KEY, ORACLE_KEY, RED_HAT_KEY, SHAPES, Image, deb, rpm

DEBIAN_12 = {"/etc/debian_version": "12.5\n"}
JAMMY = {"/etc/lsb-release": "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=22.04\nDISTRIB_CODENAME=jammy\n"}
NODEJS_20 = {"/etc/dnf/modules.d/nodejs.module": "[nodejs]\nname=nodejs\nstream=20\nprofiles=\nstate=enabled\n"}


def el9(key, release="redhat-release"):
    return [rpm(release, "9.2", "0.13.el9", key=key, files=["/etc/redhat-release"]), rpm("openssl", "3.0.7", "27.el9", epoch=1, key=key),
            rpm("bash", "5.1.8", "6.el9", key=key), rpm("setup", "2.13.7", "9.el9", architecture="noarch", key=key)]


# shape: image: (packages, files, definitions that hold, of them and of the others those that sources correct)
CASES = {
    "debian": {
        "libraries alone": ([deb("libc6", "2.36-9", "glibc"), deb("libuuid1", "2.38.1-5", "util-linux"), deb("zlib1g", "1:1.2.13.dfsg-1", "zlib"),
                             deb("libssl1.1", "1.1.1n-0+deb11u5", "openssl"), deb("libssl3", "3.0.13-1", "openssl")], DEBIAN_12, {"1", "2", "5"}, {"1", "2", "3", "5"}),
        "names of their own": ([deb("util-linux", "2.38.1-5"), deb("openssl", "3.0.13-1")], DEBIAN_12, {"2"}, {"2", "5"}),
        "a signed kernel": ([deb("linux-image-6.1.0-18-amd64", "6.1.76-1", "linux-signed-amd64", "6.1.76+1")], DEBIAN_12, {"4"}, {"4"}),
        "a newer signed kernel": ([deb("linux-image-6.1.0-26-amd64", "6.1.112-1", "linux-signed-amd64", "6.1.112+1")], DEBIAN_12, set(), {"4"}),
        "another release": ([deb("libc6", "2.31-13", "glibc")], {"/etc/debian_version": "11.9\n"}, set(), {"1"}),
        "a version of the binary's own": ([deb("libssl3", "9:1-1", "openssl", "3.0.9-1")], DEBIAN_12, {"5"}, {"5"}),
    },
    "ubuntu": {
        "jammy": ([deb("libssl3", "3.0.2-0ubuntu1.10", "openssl"), deb("bash", "5.1-6ubuntu1", ""), deb("libc6", "2.35-0ubuntu3.1", "glibc"),
                   deb("bind9-host", "1:9.18.12-0ubuntu0.22.04.1", "bind9")], JAMMY, {"1", "3", "5"}, {"3", "5"}),
        "mended": ([deb("libssl3", "3.0.2-0ubuntu1.15", "openssl"), deb("libc6", "2.35-0ubuntu3.9", "glibc")], JAMMY, set(), {"3"}),
        "another release": ([deb("libssl3", "3.0.2-0ubuntu1.10", "openssl"), deb("libc6", "2.35-0", "glibc")], {}, set(), {"3"}),
    },
    "redhat": {
        "signed by Red Hat": (el9(RED_HAT_KEY), NODEJS_20, {"1", "4"}, set()),
        "without the module": (el9(RED_HAT_KEY), {}, {"1"}, set()),
        "signed by another": ([el9(RED_HAT_KEY)[0], *el9(ALMA_KEY)[1:]], NODEJS_20, set(), set()),
        "unsigned": ([el9(RED_HAT_KEY)[0], *el9(None)[1:]], NODEJS_20, set(), set()),
        "another major version": ([rpm("redhat-release", "8.9", "1.el8", key=RED_HAT_KEY, files=["/etc/redhat-release"]), *el9(RED_HAT_KEY)[1:]], {}, set(), set()),
    },
    "oracle": {
        "Oracle Linux 9": (el9(ORACLE_KEY, "oraclelinux-release"), NODEJS_20, {"1", "4"}, set()),
        "Red Hat's packages": (el9(RED_HAT_KEY), {}, set(), set()),
    },
    "alma": {"AlmaLinux 9": (el9(ALMA_KEY, "almalinux-release"), NODEJS_20, {"1", "4"}, set())},
    "suse": {
        "SLES 15.6": ([rpm("sles-release", "15.6", "150600.1"), rpm("libopenssl3", "3.1.4", "150600.5.7.1"), rpm("bash", "4.4", "1"), rpm("kernel-azure", "5.0", "1")],
                      {}, {"1", "3"}, set()),
        "SLES 15.5": ([rpm("sles-release", "15.5", "1"), rpm("libopenssl3", "3.1.4", "150600.5.7.1")], {}, set(), set()),
    },
}


class AFeed(unittest.TestCase):
    def check(self, feed, image, corrected=lambda name: False):
        """Evaluates both ways; gives what holds of the chosen, and the counts."""
        whole = image.evaluate(feed.read_bytes())
        chosen, counts = image.choose(feed)
        self.assertIsNotNone(chosen, counts)
        self.assertEqual((counts["undecided"], counts["definitions"] + counts["not_applicable"]), (0, counts["of"]))
        self.assertEqual(set(chosen) - set(whole), set())
        for name, result in whole.items():
            if not corrected(name):
                # What is left out must be false for OpenSCAP too.
                self.assertEqual(chosen.get(name, "false"), result, name)
        return {name for name, result in chosen.items() if result == "true"}, counts

    def test_in_each_distribution_s_shape_comes_out_right(self):
        for shape, images in CASES.items():
            for name, (packages, files, expected, corrected) in images.items():
                with self.subTest(shape=shape, image=name):
                    image = Image(packages, files)
                    with image.directory:
                        found, _ = self.check(SHAPES / f"{shape}.xml", image, lambda name, corrected=corrected: name.rsplit(":", 1)[1] in corrected)
                    self.assertEqual({name.rsplit(":", 1)[1] for name in found} - {"100"}, expected)

    def test_says_through_which_packages_a_source_concerns_the_image(self):
        image = Image([deb("libc6", "2.36-9", "glibc"), deb("libc-bin", "2.36-9", "glibc")], DEBIAN_12)
        with image.directory:
            image.choose(SHAPES / "debian.xml")
            self.assertEqual(image.through(), {"oval:org.example.debian:def:1": "Through libc-bin, libc6 (of the source package glibc 2.36-9)."})

    def test_of_another_system_is_refused_and_not_believed(self):
        image = Image(el9(ALMA_KEY, "centos-release"), {})
        with image.directory:
            self.assertEqual(set(image.evaluate((SHAPES / "redhat.xml").read_bytes()).values()), {"true"})
            chosen, reason = image.choose(SHAPES / "redhat.xml")
            self.assertIsNone(chosen)
            self.assertIn("Red Hat Enterprise Linux must be installed", reason)
            chosen, reason = image.choose(SHAPES / "debian.xml")
            self.assertIsNone(chosen)
            self.assertIn("look at packages of the kind deb", reason)

    def test_of_forty_thousand_definitions_has_the_same_results_on_every_debian_system(self):
        subprocess.run([inspection.PROJECT / "scripts/debian-images"], check=True, stdout=subprocess.DEVNULL)
        with tempfile.TemporaryDirectory() as folder:
            feed = pathlib.Path(folder) / "feed.xml"
            subprocess.run([inspection.PROJECT / "scripts/big-oval", feed], check=True, stdout=subprocess.DEVNULL)
            sources = {f"oval:io.tidewaiter.debian:def:8{number}" for number in range(1, 6)}
            for system, point_release in (("main", True), ("upgraded", False)):
                with self.subTest(system=system):
                    packages = feeds.status(inspection.cache() / "debian" / system / "var/lib/dpkg/status")
                    image = Image(packages, DEBIAN_12)
                    with image.directory:
                        found, counts = self.check(feed, image, sources.__contains__)
                    self.assertLessEqual(sources, found)
                    self.assertEqual(len(found - sources) > 0, point_release)
                    self.assertEqual(counts["of"], 40000)
                    self.assertLess(counts["document_bytes"], 1 << 20)
            tried, kinds = {}, set()
            for name, files in feeds.sample_images():
                with self.subTest(image=name):
                    self.check_sample(feed, files, tried, kinds, sources)
            self.assertEqual(kinds, {"none", "unreadable", "deb", "rpm", "apk"})

    def check_sample(self, feed, files, tried, kinds, sources):
        """A sample image with the large feed, and where it has RPM packages with each feed of that kind."""
        with tempfile.TemporaryDirectory() as root:
            for path, data in files.items():
                (pathlib.Path(root) / path).parent.mkdir(parents=True, exist_ok=True)
                (pathlib.Path(root) / path).write_bytes(data)
            packages = feeds.listed(root)
        kind = "unreadable" if packages is None else packages[0]["kind"] if packages else "none"
        kinds.add(kind)
        same = repr((kind, packages, files.get("etc/os-release"), files.get("etc/debian_version")))
        if packages is None or not packages or same in tried:
            return
        tried[same] = True
        kept = {f"/{path}": data for path, data in files.items() if kind == "rpm" or "lib/dpkg" not in path}
        for shape in ([feed] if kind == "deb" else [feed, *(SHAPES / f"{name}.xml" for name in ("redhat", "oracle", "alma", "suse"))]):
            image = Image(packages, kept)
            with image.directory:
                if image.choose(shape)[0] is None:
                    # It says why; nothing of it holds for OpenSCAP either.
                    self.assertNotIn("true", image.evaluate(shape.read_bytes()).values())
                else:
                    self.check(shape, image, sources.__contains__)


if __name__ == "__main__":
    unittest.main()
