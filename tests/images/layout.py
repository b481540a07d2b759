"""Writes container images into an OCI image layout, byte for byte the same on every machine.

Nothing here needs root: owners, devices and whiteouts are only tar headers.
Source: OCI image specification 1.1 (layer.md, image-layout.md), Docker image manifest v2 schema 2.
"""

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile

EPOCH = 1735689600  # 2025-01-01T00:00:00Z, the time of every file
CREATED = "2025-01-01T00:00:00Z"
OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."
OCI_MANIFEST = OCI + "manifest.v1+json"
OCI_INDEX = OCI + "index.v1+json"
DOCKER_MANIFEST = DOCKER + "distribution.manifest.v2+json"
DOCKER_LIST = DOCKER + "distribution.manifest.list.v2+json"
REF_NAME = "org.opencontainers.image.ref.name"


class Layer:
    """One layer as an uncompressed tar. Each method adds an entry and returns the layer."""

    def __init__(self):
        self._bytes = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._bytes, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, name, data=None, **fields):
        """An entry with any `TarInfo` field (type, mode, uid, gid, linkname, pax_headers, devmajor, devminor)."""
        info = tarfile.TarInfo(name)
        info.mtime = EPOCH
        for field, value in fields.items():
            setattr(info, field, value)
        if data is not None:
            info.size = len(data)
        self._tar.addfile(info, io.BytesIO(data) if data is not None else None)
        return self

    def directory(self, name, mode=0o755, **fields):
        return self.add(name, type=tarfile.DIRTYPE, mode=mode, **fields)

    def file(self, name, data=b"", mode=0o644, **fields):
        return self.add(name, data.encode() if isinstance(data, str) else data, mode=mode, **fields)

    def symlink(self, name, target):
        return self.add(name, type=tarfile.SYMTYPE, linkname=target, mode=0o777)

    def hardlink(self, name, target):
        return self.add(name, type=tarfile.LNKTYPE, linkname=target)

    def fifo(self, name):
        return self.add(name, type=tarfile.FIFOTYPE)

    def archive(self, path):
        """Everything in the tar archive `path`, with its owners and modes."""
        with tarfile.open(path) as source:
            for member in source:
                member.name = os.path.normpath(member.name)
                if member.name == ".":
                    continue
                member.mtime, member.uname, member.gname, member.pax_headers = EPOCH, "", "", {}
                self._tar.addfile(member, source.extractfile(member) if member.isreg() else None)
        return self

    def tar(self):
        """The layer's bytes. Nothing can be added afterwards."""
        self._tar.close()
        return self._bytes.getvalue()


def _gzip(data):
    return gzip.compress(data, 9, mtime=0)


def _zstd(data):
    return subprocess.run(["zstd", "-q", "-19", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout


COMPRESSIONS = {
    "gzip": (_gzip, OCI + "layer.v1.tar+gzip"),
    "zstd": (_zstd, OCI + "layer.v1.tar+zstd"),
    "none": (lambda data: data, OCI + "layer.v1.tar"),
}


class Layout:
    """An OCI image layout in the folder `path`; `close` writes its index."""

    def __init__(self, path):
        self.path = path
        self.index = []
        os.makedirs(os.path.join(path, "blobs/sha256"), exist_ok=True)

    def blob(self, data):
        """Stores `data`; its digest and size as the start of a descriptor."""
        digest = hashlib.sha256(data).hexdigest()
        with open(os.path.join(self.path, "blobs/sha256", digest), "wb") as file:
            file.write(data)
        return {"digest": "sha256:" + digest, "size": len(data)}

    def image(self, tag, layers, compression="gzip", docker=False, architecture="amd64", config=None, diff_ids=None):
        """Writes one image of tar `layers` (bytes) and returns its descriptor; `tag` None keeps it out of the index.

        `docker`: Docker's media types in place of OCI's. `diff_ids`: what the configuration claims, if not the truth.
        """
        compress, layer_type = COMPRESSIONS[compression]
        if docker:
            layer_type = DOCKER + "image.rootfs.diff.tar.gzip"
        # A title each: to a container runtime, images with the same configuration are one image.
        labels = {"Labels": {"org.opencontainers.image.title": tag or architecture, "org.opencontainers.image.version": "1"}}
        truth = ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]
        configuration = {
            "created": CREATED,
            "architecture": architecture,
            "os": "linux",
            "config": {"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["/bin/sh"], **labels, **(config or {})},
            "rootfs": {"type": "layers", "diff_ids": diff_ids or truth},
            "history": [{"created": CREATED, "created_by": "tests/images/build"} for _ in layers],
        }
        config_type = DOCKER + "container.image.v1+json" if docker else OCI + "config.v1+json"
        manifest = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST if docker else OCI_MANIFEST,
            "config": {"mediaType": config_type, **self.blob(_json(configuration))},
            "layers": [{"mediaType": layer_type, **self.blob(compress(layer))} for layer in layers],
        }
        descriptor = {"mediaType": manifest["mediaType"], **self.blob(_json(manifest))}
        self._name(tag, descriptor)
        return {**descriptor, "platform": {"architecture": architecture, "os": "linux"}}

    def many(self, tag, descriptors, docker=False):
        """Writes an index (or Docker manifest list) of images for several platforms."""
        media_type = DOCKER_LIST if docker else OCI_INDEX
        index = {"schemaVersion": 2, "mediaType": media_type, "manifests": descriptors}
        self._name(tag, {"mediaType": media_type, **self.blob(_json(index))})

    def _name(self, tag, descriptor):
        if tag:
            self.index.append({**descriptor, "annotations": {REF_NAME: tag}})

    def close(self):
        """Writes the files that make the folder a layout."""
        with open(os.path.join(self.path, "index.json"), "w") as file:
            json.dump({"schemaVersion": 2, "manifests": self.index}, file, indent=1)
        with open(os.path.join(self.path, "oci-layout"), "w") as file:
            json.dump({"imageLayoutVersion": "1.0.0"}, file)


def read_index(path):
    """The descriptor of each tag of the layout in `path`."""
    with open(os.path.join(path, "index.json")) as file:
        return {entry["annotations"][REF_NAME]: entry for entry in json.load(file)["manifests"]}


def _json(value):
    return json.dumps(value, sort_keys=True).encode()
