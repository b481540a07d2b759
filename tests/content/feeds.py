"""Feeds evaluated in two ways: whole, and as the server chooses from them; on small systems that are made here."""
import functools
import io
import json
import os
import pathlib
import subprocess
import tarfile
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
def example(package, name):
    """The program of an example, built."""
    command = ["cargo", "build", "--quiet", "--locked", "--package", package, "--example", name]
    subprocess.run(command, check=True, cwd=inspection.PROJECT, env=os.environ | {"SQLX_OFFLINE": "true"})
    target = os.environ.get("CARGO_TARGET_DIR") or inspection.PROJECT / "target"
    return pathlib.Path(target) / "debug/examples" / name


class Image:
    """A small system and the work directory that it lies in."""

    def __init__(self, packages, files):
        self.packages = packages
        self.directory = inspection.work_directory()
        self.work = pathlib.Path(self.directory.name)
        self.root = self.work / "root"
        for path, text in ({"/run/.containerenv": "", "/proc/mounts": "/dev/root / ext4 rw,relatime 0 0\n"} | files).items():
            (self.root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path[1:]).write_bytes(text if isinstance(text, bytes) else text.encode())
        rpms = [package for package in packages if "kind" not in package]
        if rpms:
            rpmdb.write(self.root / "var/lib/rpm", rpms)
        self.show([])
        inspection.write_state(self.work)

    def show(self, sources):
        """Writes dpkg's status file, as the inspector does, with an entry for each of `sources`."""
        debs = [package for package in self.packages if package.get("kind") == "deb"]
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
            arguments = [example("scap", "select"), feed, listed, folder]
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


# What package tools and OpenSCAP's probes look at: where packages and the system's name are.
LOOKED_AT = ("etc/", "usr/lib/os-release", "var/lib/dpkg/", "var/lib/rpm/", "lib/apk/")


def sample_images():
    """Tag and platform → what LOOKED_AT of its files, as path → bytes; of every sample image."""
    layout = pathlib.Path(subprocess.run([inspection.PROJECT / "tests/images/build"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())

    def blob(descriptor):
        return (layout / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes()

    def images(name, descriptor):
        manifest = json.loads(blob(descriptor))
        for inner in manifest.get("manifests", []):
            platform = inner.get("platform", {})
            yield from images(f"{name} {platform.get('architecture', '')}".strip(), inner)
        if "layers" in manifest:
            files = {}
            for layer in manifest["layers"]:
                files |= read_layer(blob(layer))
            yield name, files

    for descriptor in json.loads((layout / "index.json").read_bytes())["manifests"]:
        if name := descriptor.get("annotations", {}).get("org.opencontainers.image.ref.name"):
            yield from images(name, descriptor)


def read_layer(data):
    """Path → bytes of the regular files in a layer that LOOKED_AT names."""
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        data = subprocess.run(["zstd", "--decompress", "--stdout"], input=data, check=True, stdout=subprocess.PIPE).stdout
    files = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            path = member.name.removeprefix("./")
            if member.isfile() and path.startswith(LOOKED_AT) and ".." not in path.split("/"):
                files[path] = archive.extractfile(member).read()
    return files


def listed(root):
    """The packages that the inspector reports for the image's files in `root`; None when their database cannot be read."""
    done = subprocess.run([example("inspector", "packages"), root], capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None
