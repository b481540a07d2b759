"""Feeds evaluated in two ways: whole, and as the server chooses from them; on small systems that are made here."""
import functools
import json
import os
import pathlib
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree

import inspection
import rpmdb

RESULTS = "{http://oval.mitre.org/XMLSchema/oval-results-5}"
THROUGH = "{https://tidewaiter.io/oval}through"
SHAPES = inspection.PROJECT / "crates/scap/testdata/feed"
RED_HAT_KEY, ORACLE_KEY, ALMA_KEY = "199e2f91fd431d51", "bc4d06a08d8b756f", "d36cb86cb86b3716"


def deb(name, version, source="", source_version="", architecture="amd64"):
    return {"kind": "deb", "name": name, "version": version, "architecture": architecture, "source": source, "source_version": source_version or (version if source else "")}


def rpm(name, version, release, epoch=None, architecture="x86_64", key=None, files=()):
    package = {"name": name, "version": version, "release": release, "arch": architecture, "files": {path: (0, 0o100644, rpmdb.digest("")) for path in files}}
    if epoch is not None:
        package["epoch"] = epoch
    if key:
        package["key"] = key
    return package


def as_reported(package):
    """A package as the inspection report has it."""
    if "kind" in package:
        return package
    epoch = f"{package['epoch']}:" if package.get("epoch") else ""
    return {"kind": "rpm", "name": package["name"], "version": f"{epoch}{package['version']}-{package['release']}", "architecture": package["arch"]}


def stanza(name, version, architecture):
    return f"Package: {name}\nStatus: install ok installed\nArchitecture: {architecture}\nVersion: {version}\n\n"


def status(path):
    """The packages of a real status file."""
    packages = []
    for text in path.read_text().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line and not line.startswith(" "))
        if fields.get("Status", "").endswith(" installed"):
            source, _, version = fields.get("Source", "").partition(" (")
            packages.append(deb(fields["Package"], fields["Version"], source, version.rstrip(")"), fields["Architecture"]))
    return packages


@functools.cache
def program():
    """The example `select`, built."""
    subprocess.run(["cargo", "build", "--quiet", "--package", "scap", "--example", "select"], check=True, cwd=inspection.PROJECT)
    target = os.environ.get("CARGO_TARGET_DIR") or inspection.PROJECT / "target"
    return pathlib.Path(target) / "debug/examples/select"


class Image:
    """A small system and the work directory that it lies in."""

    def __init__(self, packages, files):
        self.packages = packages
        self.directory = inspection.work_directory()
        self.work = pathlib.Path(self.directory.name)
        self.root = self.work / "root"
        for path, text in ({"/run/.containerenv": "", "/proc/mounts": "/dev/root / ext4 rw,relatime 0 0\n"} | files).items():
            (self.root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path[1:]).write_text(text)
        rpms = [package for package in packages if "kind" not in package]
        if rpms:
            rpmdb.write(self.root / "var/lib/rpm", rpms)
        self.show([])
        inspection.write_state(self.work)

    def show(self, sources):
        """Writes dpkg's status file, as the inspector does, with an entry for each of `sources`."""
        debs = [package for package in self.packages if "kind" in package]
        if debs:
            path = self.root / "var/lib/dpkg/status"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(stanza(package["name"], package["version"], package["architecture"]) for package in debs) +
                            "".join(stanza(name, version, "all") for name, version in sources))

    def evaluate(self, document):
        """Definition → result; the results stay in work/results.xml."""
        (self.work / "feed.xml").write_bytes(document)
        inspection.oscap(self.work, "oval", "eval", "--results", "/mnt/results.xml", "/mnt/feed.xml")
        found = ElementTree.parse(self.work / "results.xml").iter(f"{RESULTS}definition")
        return {definition.get("definition_id"): definition.get("result") for definition in found}

    def choose(self, feed):
        """What the server does: questions, answers, the chosen document with its results, and the counts."""
        listed = self.work / "packages.json"
        listed.write_text(json.dumps([as_reported(package) for package in self.packages]))
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            arguments = [program(), feed, listed, folder]
            first = subprocess.run(arguments, capture_output=True, text=True, check=False)
            questions = folder / "questions.xml"
            if questions.exists():
                self.evaluate(questions.read_bytes())
                arguments.append(self.work / "results.xml")
                first = subprocess.run(arguments, capture_output=True, text=True, check=False)
            if first.returncode != 0:
                return None, first.stderr
            self.show(json.loads((folder / "sources.json").read_text()))
            document = (folder / "selection.xml").read_bytes()
            subprocess.run(["oscap", "oval", "validate", folder / "selection.xml"], check=True, stdout=subprocess.DEVNULL)
        counts = json.loads(first.stdout)
        results = self.evaluate(document) if counts["definitions"] else {}
        self.show([])
        return results, counts

    def through(self):
        """Definition → the sentence that its result has as message on the image's page, of the last evaluation."""
        definitions = ElementTree.parse(self.work / "results.xml").iter("{http://oval.mitre.org/XMLSchema/oval-definitions-5}definition")
        return {definition.get("id"): found.text for definition in definitions for found in definition.iter(THROUGH)}
