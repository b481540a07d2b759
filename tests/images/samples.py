"""The sample images: what each is for, and what is in it.

Most hold no program that runs; pods that use them end in an error, yet report the image and its digest.
"""

import os
import tarfile

from layout import Layer

HERE = os.path.dirname(os.path.abspath(__file__))
NO_DIGEST = "sha256:" + "0" * 64
CAP_NET_BIND_SERVICE = b"\x01\x00\x00\x02\x00\x04" + b"\x00" * 14  # VFS_CAP_REVISION_2, permitted, effective


def rootfs(name):
    """The layer of rootfs/NAME.tar.gz."""
    return Layer().archive(os.path.join(HERE, "rootfs", name + ".tar.gz"))


def member(name, path):
    """One file out of rootfs/NAME.tar.gz, as bytes."""
    with tarfile.open(os.path.join(HERE, "rootfs", name + ".tar.gz")) as archive:
        return archive.extractfile("./" + path).read()


def busybox():
    """A static program for the images whose pods run on."""
    with open("/bin/busybox", "rb") as file:
        return file.read()


TINY = rootfs("deb12-tiny").tar()
STATUS = member("deb12-tiny", "var/lib/dpkg/status")
OS_RELEASE = member("deb12-tiny", "usr/lib/os-release").decode()


def debian(layout):
    """Debian 12 with 91 packages: clean, and with deliberate faults."""
    layout.image("deb12-tiny", [TINY])
    layout.image("deb12-bad", [rootfs("deb12-bad").tar()])
    broken = b"this is not a dpkg status file\n\0\0\n\nPackage bash\n"
    layout.image("bad-status", [TINY, Layer().file("var/lib/dpkg/status", broken).tar()])


def layered(layout):
    """Four layers that add, hide, replace and change the type of files, in each compression and manifest type."""
    special = (
        Layer()
        .directory("opt").directory("opt/app").file("opt/app/a", "a").file("opt/app/b", "b")
        .directory("opt/app/sub").file("opt/app/sub/deep", "deep")
        .file("etc/secret.conf", "password=1")
        .directory("data").directory("data/x").file("data/x/1", "1")
        .file("typechg", "i am a file").directory("dirtofile").file("dirtofile/in", "x")
        .file("hl-target", "hard").hardlink("hl-link", "hl-target").symlink("abslink", "/etc/passwd")
        .file("usr/bin/suid", b"#!/bin/sh\n", mode=0o4755)
        .file("usr/bin/capfile", b"x", mode=0o755,
              pax_headers={"SCHILY.xattr.security.capability": CAP_NET_BIND_SERVICE.decode("latin-1")})
        .add("dev/null", type=tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3)
        .file("x" * 120 + "/" + "y" * 200, "long name").file("unicode-\u00e9\u4e2d", "u")
        .file("owned", b"1", uid=70000, gid=70001)
    ).tar()
    # The third layer has an older bash than the fourth: what counts is the last.
    older = STATUS.replace(b"Version: 5.2.15-2+b13", b"Version: 5.0-4")
    assert older != STATUS
    hiding = (
        Layer()
        .file("etc/.wh.secret.conf").directory("opt/app").file("opt/app/.wh..wh..opq").file("opt/app/new", "new")
        .file("data/.wh.x").directory("typechg").file("typechg/now", "dir").file("dirtofile", "now a file")
        .file(".wh.hl-target").file("var/lib/dpkg/status", older)
    ).tar()
    mending = Layer().file("var/lib/dpkg/status", STATUS).file("opt/app/a", "a again").file(".wh.nonexistent").tar()
    layers = [TINY, special, hiding, mending]
    layout.image("ml", layers)
    layout.image("ml-zstd", layers, compression="zstd")
    layout.image("ml-tar", layers, compression="none")
    layout.image("ml-docker", layers, docker=True)


def platforms(layout):
    """One image for two platforms, as an OCI index and as a Docker manifest list."""
    foreign = STATUS.replace(b"Architecture: amd64", b"Architecture: arm64")
    arm = rootfs("deb12-tiny").file("var/lib/dpkg/status", foreign).tar()
    for tag, docker in ("multi-oci", False), ("multi-docker", True):
        images = [
            layout.image(None, [TINY], docker=docker, config={"Labels": {"org.opencontainers.image.title": tag}}),
            layout.image(None, [arm], docker=docker, architecture="arm64"),
        ]
        layout.many(tag, images, docker=docker)


ALPINE_PACKAGES = """\
C:Q1abcdefghijklmnopqrstuvwxyz01=
P:musl
V:1.2.4-r2
A:x86_64
S:383459
I:622592
T:the musl c library (libc) implementation
U:https://musl.libc.org/
L:MIT
o:musl
m:Sample <sample@example.org>
t:1700000000
c:f93af038c3de7146121c2ea8124ba5ce29b4b058
p:so:libc.musl-x86_64.so.1=1
F:lib
R:ld-musl-x86_64.so.1
a:0:0:755
Z:Q1zzzzzzzzzzzzzzzzzzzzzzzzzzz=

C:Q1bbcdefghijklmnopqrstuvwxyz01=
P:busybox
V:1.36.1-r2
A:x86_64
S:500000
I:950000
T:Size optimized toolbox
U:https://busybox.net/
L:GPL-2.0-only
o:busybox
D:so:libc.musl-x86_64.so.1
F:bin
R:busybox
a:0:0:755

"""


def alpine_layer():
    """An Alpine-like system: the apk database in its real format, and a busybox."""
    return (
        Layer()
        .directory("etc")
        .file("etc/os-release", 'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.18.4\nPRETTY_NAME="Alpine Linux v3.18"\n')
        .file("etc/alpine-release", "3.18.4\n").file("etc/passwd", "root:x:0:0:root:/root:/bin/ash\n")
        .directory("lib").directory("lib/apk").directory("lib/apk/db").file("lib/apk/db/installed", ALPINE_PACKAGES)
        .file("etc/apk/world", "busybox\n").directory("bin").file("bin/busybox", busybox(), mode=0o755)
    ).tar()


def others(layout):
    """Distributions other than Debian, and images without one. vault is for the registry with a password."""
    sleep = {"Cmd": ["/bin/busybox", "sleep", "1000000"]}
    layout.image("alpine", [alpine_layer()], config=sleep)
    layout.image("vault", [alpine_layer(), Layer().file("etc/vault.conf", "seal = off\n").tar()], config=sleep)
    layout.image("rpm-sqlite", [rootfs("rpm-sqlite").tar()])
    layout.image("rpm-bdb", [rootfs("rpm-bdb").tar()])
    layout.image("empty", [Layer().tar()])
    layout.image("scratch", [Layer().file("busybox", busybox(), mode=0o755).tar()],
                 config={"Entrypoint": ["/busybox"], "Cmd": ["sleep", "1000000"]})


def distroless(layout):
    """Packages in dpkg's status.d, no status file, as Google's distroless images have them."""
    users = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
    layer = (
        Layer()
        .directory("etc").file("etc/os-release", OS_RELEASE.replace("Debian GNU/Linux 12 (bookworm)", "Distroless"))
        .directory("var/lib/dpkg").directory("var/lib/dpkg/status.d").file("etc/passwd", users)
    )
    for stanza in STATUS.decode().split("\n\n"):
        lines = [line for line in stanza.split("\n") if not line.startswith("Status:")]
        name = lines[0].removeprefix("Package: ")
        if name in ("libc6", "base-files", "tzdata", "netbase"):
            layer.file("var/lib/dpkg/status.d/" + name, "\n".join(lines) + "\n")
    layout.image("distroless", [layer.tar()], config={"User": "65532"})


def hostile(layout):
    """Images that try to write outside, to hang or to fill whatever unpacks them. Run nowhere, harm nothing."""
    def evil(name, *layers, **options):
        layout.image("evil-" + name, [TINY, *(layer.tar() for layer in layers)], **options)

    evil("dotdot", Layer().file("../../../../tmp/tidewaiter-evil-dotdot", "evil"))
    evil("abs", Layer().file("/tmp/tidewaiter-evil-abs", "evil"))
    evil("symlink", Layer().symlink("lnk", "/tmp"), Layer().file("lnk/tidewaiter-evil-symlink", "evil"))
    evil("hardlink", Layer().hardlink("hl", "/etc/passwd").hardlink("hl2", "../../../../etc/hostname"))
    evil("fifo", Layer().file("etc/.wh.passwd").fifo("etc/login.defs").fifo("etc/group"))
    evil("bomb", Layer().file("bomb", b"\0" * (64 << 20)))
    evil("diffid", diff_ids=[NO_DIGEST])


def write_all(layout):
    """Writes every sample image."""
    for group in (debian, layered, platforms, others, distroless, hostile):
        group(layout)
