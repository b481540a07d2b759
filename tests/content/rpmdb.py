"""Writes an rpm database (SQLite) by hand, with as much in each package's header as OpenSCAP's probes read: rpm itself is not needed.

Source: rpm's docs/manual/format.md, lib/backend/sqlite.c; RFC 4880 for signatures."""
import hashlib
import sqlite3
import struct

INT16, INT32, STRING, BIN, STRING_ARRAY = 3, 4, 6, 7, 8
REGION, RSA, NAME, VERSION, RELEASE, EPOCH, SUMMARY, OS, ARCH = 63, 268, 1000, 1001, 1002, 1003, 1004, 1021, 1022
SIZES, MODES, MTIMES, DIGESTS, LINKS, FLAGS, USERS, GROUPS, DIRINDEXES, BASENAMES, DIRNAMES = 1028, 1030, 1034, 1035, 1036, 1037, 1039, 1040, 1116, 1117, 1118
INDEXES = ("Name Basenames Group Requirename Providename Conflictname Obsoletename Triggername Dirnames Installtid Sigmd5 Sha1header Filetriggername "
           "Transfiletriggername Recommendname Suggestname Supplementname Enhancename").split()


def signature(key, signed):
    """An OpenPGP signature packet of `signed` that says it is of `key` (16 hex digits). Only the digest in it is right: who has the key sees that it is none."""
    subpackets = bytes([5, 2]) + struct.pack(">I", 1700000000) + bytes([9, 16]) + bytes.fromhex(key)
    hashed = bytes([4, 0, 1, 8]) + struct.pack(">H", len(subpackets)) + subpackets
    digest = hashlib.sha256(signed + hashed + b"\x04\xff" + struct.pack(">I", len(hashed))).digest()
    body = hashed + b"\0\0" + digest[:2] + struct.pack(">H", 2048) + b"\x80" + b"\x01" * 255
    return bytes([0xC2, 192 + (len(body) - 192 >> 8), len(body) - 192 & 255]) + body


def entries(tags, start=0):
    """(index, data) of entries by tag, each value as its type wants it; the data begins `start` bytes after the header's."""
    index, data = b"", b""
    for tag, (kind, value) in sorted(tags.items()):
        count = 1 if kind == STRING else len(value)
        if kind in (INT16, INT32):
            data += b"\0" * (-(start + len(data)) % (2 if kind == INT16 else 4))
        index += struct.pack(">IIII", tag, kind, start + len(data), count)
        if kind in (INT16, INT32):
            data += b"".join(struct.pack(">H" if kind == INT16 else ">I", number) for number in value)
        elif kind == STRING:
            data += value.encode() + b"\0"
        elif kind == BIN:
            data += value
        else:
            data += b"".join(text.encode() + b"\0" for text in value)
    return index, data


def header(package):
    """`package`: name, version, release, arch, and perhaps epoch, key and files (path → (size, mode, sha256))."""
    tags = {NAME: (STRING, package["name"]), VERSION: (STRING, package["version"]), RELEASE: (STRING, package["release"]),
            SUMMARY: (STRING, package["name"]), OS: (STRING, "linux"), ARCH: (STRING, package["arch"])}
    if "epoch" in package:
        tags[EPOCH] = (INT32, [package["epoch"]])
    files = package.get("files", {})
    if files:
        folders = sorted({path.rpartition("/")[0] + "/" for path in files})
        ordered = sorted(files)
        tags |= {
            SIZES: (INT32, [files[path][0] for path in ordered]), MODES: (INT16, [files[path][1] for path in ordered]),
            MTIMES: (INT32, [0 for _ in ordered]), DIGESTS: (STRING_ARRAY, [files[path][2] for path in ordered]), LINKS: (STRING_ARRAY, ["" for _ in ordered]),
            FLAGS: (INT32, [0 for _ in ordered]), USERS: (STRING_ARRAY, ["root" for _ in ordered]), GROUPS: (STRING_ARRAY, ["root" for _ in ordered]),
            DIRINDEXES: (INT32, [folders.index(path.rpartition("/")[0] + "/") for path in ordered]),
            BASENAMES: (STRING_ARRAY, [path.rpartition("/")[2] for path in ordered]), DIRNAMES: (STRING_ARRAY, folders), 5011: (INT32, [8])}
    # What was signed is a region that ends with a copy of its own entry; the signature stands behind it.
    index, data = entries(tags)
    index = struct.pack(">IIII", REGION, BIN, len(data), 16) + index
    data += struct.pack(">IIiI", REGION, BIN, -len(index), 16)
    signed = bytes.fromhex("8eade80100000000") + struct.pack(">II", len(index) // 16, len(data)) + index + data
    more = entries({RSA: (BIN, signature(package["key"], signed))} if "key" in package else {}, len(data))
    index, data = index + more[0], data + more[1]
    return struct.pack(">II", len(index) // 16, len(data)) + index + data


def write(folder, packages):
    """Makes folder/rpmdb.sqlite with these packages."""
    folder.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(folder / "rpmdb.sqlite")
    database.execute("CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL)")
    for name in INDEXES:
        database.execute(f"CREATE TABLE '{name}' (key '{'BLOB' if name in ('Installtid', 'Sigmd5') else 'TEXT'}' NOT NULL, hnum INTEGER NOT NULL, "
                         "idx INTEGER NOT NULL, FOREIGN KEY (hnum) REFERENCES 'Packages'(hnum))")
        database.execute(f"CREATE INDEX '{name}_key_idx' ON '{name}'(key ASC)")
    for package in packages:
        number = database.execute("INSERT INTO Packages(blob) VALUES(?)", (header(package),)).lastrowid
        database.execute("INSERT INTO Name VALUES(?, ?, 0)", (package["name"], number))
        for place, path in enumerate(sorted(package.get("files", {}))):
            database.execute("INSERT INTO Basenames VALUES(?, ?, ?)", (path.rpartition("/")[2], number, place))
    database.commit()
    database.close()


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()
