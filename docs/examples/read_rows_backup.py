#!/usr/bin/env python3
"""Print a database of a rows backup of ulasis-backup as SQL, without ulasis-backup.

    export BACKUP_ENCRYPTION_KEY=…                     # 64 hexadecimal digits, if there is a key
    python3 read_rows_backup.py FILE.rows.zst.enc.meta.json [DATABASE] > out.sql &&
    mariadb --binary-mode --comments --default-character-set=utf8mb4 NEW_EMPTY_DATABASE < out.sql

It needs Python 3.11, `cryptography` (50 for aes-256-gcm), and Python 3.14 or `backports.zstd`. What
it reads is described in docs/format.md, and checked before the first line is printed. Load nothing
unless it ended with status 0. Written for MariaDB. SQL as text cannot carry bodies that the client
cuts otherwise than the server did (a line that begins with DELIMITER, letters of sjis, big5, gbk),
names and comments outside ASCII beside a body whose client was not UTF-8, and defaults of binary
columns that are no UTF-8. Nobody sees the server's warnings. `ulasis-backup restore` is exact.
"""
import functools, hashlib, hmac, io, json, os, struct, sys, zlib
from pathlib import Path
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
try:
    from compression import zstd
except ImportError:
    from backports import zstd

START = """SET NAMES utf8mb4; SET SESSION sql_mode = '', foreign_key_checks = 0, innodb_strict_mode = 0;
ALTER DATABASE CHARACTER SET {character_set} COLLATE {collation} COMMENT '{shown}';
/*M!100300 SET SESSION check_constraint_checks = 0, system_versioning_alter_history = KEEP */;
/*M!101100 SET SESSION system_versioning_insert_history = 1 */;
/*M!110200 SET SESSION character_set_collations = '' */;\n"""
MODES = "ALLOW_INVALID_DATES,IGNORE_BAD_TABLE_OPTIONS,NO_AUTO_VALUE_ON_ZERO"  # of tables and rows
SEQUENCE = """INSERT INTO %s SELECT %s, minimum_value, maximum_value, start_value, increment,
  cache_size, cycle_option, %s FROM %s;\n"""
mac = functools.partial(hmac.digest, digest="sha256")
sha256 = lambda data: hashlib.sha256(data).digest()

def need(condition, message):
    if not condition:
        sys.exit(f"read_rows_backup: {message}")

def derive(secret, info):  # HKDF-SHA-256 without salt, 32 bytes
    return mac(mac(bytes(32), secret), f"ulasis-backup/1/{info}".encode() + b"\1")

def read_manifest(path, key):
    """Return the manifest, proven, and the data key."""
    body = json.loads(path.read_bytes())
    keys, _, tag, digest = (body.pop(name, None) for name in ("keys", "keys_mac", "mac", "sha256"))
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    text = text.encode("utf-8", "surrogatepass")
    need((body["format"], body["method"]) == (1, "rows"), "this is no rows backup of format 1")
    if tag is None:
        need(not key, "it is not signed, but you have a key: somebody may have replaced it")
        need(sha256(text).hex() == digest, "the manifest is damaged")
        return body, b""
    wrapped = {entry["recipient"]: bytes.fromhex(entry["wrapped"]) for entry in keys}
    recipient = "aes-256:" + derive(key, "key-id")[:8].hex()
    need(recipient in wrapped, "BACKUP_ENCRYPTION_KEY is not set, or another key")
    secret = aes_key_unwrap(key, wrapped[recipient])
    found = mac(derive(secret, f"{body['id']}/manifest"), text).hex()
    need(hmac.compare_digest(found, tag), "the manifest is not authentic")
    return body, secret

def read_payload(folder, manifest, secret):
    """Return the index. The manifest, which is proven, holds the digest of the stored bytes."""
    data, start = (folder / manifest["payload"]).read_bytes(), manifest["id"] + "/payload"
    need(sha256(data).hex() == manifest["stored"]["sha256"], "the payload is damaged")
    if manifest["stages"]["cipher"] == "aes-256-cbc":
        algorithm = algorithms.AES256(derive(secret, f"{start}/encrypt"))
        data = Cipher(algorithm, modes.CBC(data[8:24])).decryptor().update(data[256:-32])
        data = data[: -data[-1]]
    elif manifest["stages"]["cipher"] == "aes-256-gcm":
        from cryptography.cobblestone import Cobblestone256Decryptor
        stream = Cobblestone256Decryptor(derive(secret, f"{start}/gcm"), data[:256])
        data = stream.update(data[256:]) + stream.finalize()
    return zstd.decompress(data)

def read_index(data):
    """Return the records; those of ranges are in the `ranges` of their tables."""
    stream, records = io.BytesIO(data), []
    need(stream.readline() == b"ulasis-backup rows index 1\n", "this is no index of format 1")
    for line in stream:
        record = json.loads(line) | {"ranges": []}
        record["data"] = stream.read(record["blob"] + 1)[:-1] if "blob" in record else None
        (records[-1]["ranges"] if record["record"] == "range" else records).append(record)
    need(records and records[-1]["record"] == "end", "the index is cut short")
    return records

def read_range(folder, begin, part):
    """Return the row packets of a range, proven by their fingerprint."""
    epoch, key = begin["epoch"], bytes.fromhex(begin["epoch_key"])
    plain = read_object(folder, epoch, key, part["name"]) if part["name"] else part["data"]
    digest = functools.partial(mac, derive(key, f"{epoch}/fingerprints")) if key else sha256
    need(digest(plain).hex() == part["fingerprint"], f"object {part['name']} holds other rows")
    return plain

def read_object(folder, epoch, key, name):
    """Return the plain bytes of an object, through those that it is a difference to."""
    file = (folder / "objects" / epoch / name[:2] / name).read_bytes()
    need(file[:6] == b"ULBO\1" + bytes([bool(key)]), f"damaged: {name}")
    named, body = file[:6] + name.encode(), file[10:]
    if key:
        body = AESGCM(derive(key, f"{epoch}/objects")).decrypt(file[6:18], file[18:], named)
    else:
        need(zlib.crc32(named + body).to_bytes(4, "little") == file[6:10], f"damaged: {name}")
    encoding, _, length = struct.unpack_from("<BQB", body)
    base, data = body[10 : 10 + length].decode(), body[10 + length :]
    below = read_object(folder, epoch, key, base) if base else None
    prefix = zstd.ZstdDict(below, is_raw=True).as_prefix if base else None
    return zstd.decompress(data, prefix) if encoding else data

def rows(packets, columns):
    """Yield the values of each row. Rows tell where they end, so the packets' headers can go."""
    at, payloads = 0, []
    while at < len(packets):
        begin, at = at + 4, at + 4 + int.from_bytes(packets[at : at + 3], "little")
        payloads.append(packets[begin:at])
    stream, size = io.BytesIO(b"".join(payloads)), sum(map(len, payloads))
    while stream.tell() < size:
        yield [value(stream) for _ in columns]

def value(stream):
    """Return the next value of a row; None is NULL."""
    size = stream.read(1)[0]
    if size == 0xFB:
        return None
    width = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(size, 0)
    return stream.read(int.from_bytes(stream.read(width), "little") if width else size)

def literal(value, column):
    """Return a value as SQL."""
    value = value if value is None or column["literal"] != "bytes" else value.hex().encode()
    form = {"number": b"%s", "moment": b"'%s'", "bytes": b"x'%s'"}[column["literal"]]
    return column["bind"].encode().replace(b"{}", b"NULL" if value is None else form % value)

def quoted(name):
    return b"`%s`" % name.encode("utf-8", "surrogateescape").replace(b"`", b"``")

def inserts(table, packets):
    """Yield INSERT statements, of about 1 MB each, in pieces."""
    columns, size = table["columns"], 0
    names = b", ".join(quoted(column["name"]) for column in columns)
    for row in rows(packets, columns):
        yield b",\n" if size else b"INSERT INTO %s (%s) VALUES\n" % (quoted(table["table"]), names)
        text = b"(%s)" % b",".join(map(literal, row, columns))
        size = size + len(text) if size < 1 << 20 else 0
        yield text if size else text + b";\n"
    yield b";\n" if size else b""

def create(definition, home):
    """Return the statement that makes an object, in the settings that it was first made in."""
    get, text, mark = definition.get, definition["data"], b"$$"
    while mark in text:
        mark += b"$"
    settings = f"""ALTER DATABASE COLLATE {get("database_collation") or home["collation"]};
SET SESSION sql_mode = '{MODES if get("kind") == "table" else get("sql_mode")}',
  character_set_client = {get("charset_client") or "utf8mb4"},
  collation_connection = {get("collation_connection") or "utf8mb4_general_ci"},
  time_zone = '{get("time_zone") or "+00:00"}', timestamp = {get("extra").get("created", "DEFAULT")};\nDELIMITER """
    return settings.encode() + b"%s\n%s\n%s\nDELIMITER ;\n" % (mark, text, mark)

def depth(view, views):
    """Return how many others, one on top of the other, a view is built on, and one more."""
    rest = [one for one in views if one is not view]
    below = (depth(one, rest) for one in rest if quoted(one["name"]) in view["data"])
    return 1 + max(below, default=0)

def statements(records, database, read):
    """Yield all of a database as SQL. The order of the index works, but for views."""
    mine = [record for record in records if record.get("database") == database]
    home = next(iter(mine), None) or need(False, f"it does not hold {database}")
    tables = {("table", one["table"]): one for one in mine if one["record"] == "table"}
    definitions = [record for record in mine if record["record"] == "definition"]
    views = [record for record in definitions if record["kind"] == "view"]
    ordered = iter(sorted(views, key=lambda view: depth(view, views)))
    shown = home["comment"].replace("\\", "\\\\").replace("'", "''")
    yield START.format(**home, shown=shown).encode()
    for definition in definitions:
        kind, extra = definition["kind"], definition["extra"]
        definition = next(ordered) if kind == "view" else definition
        name = quoted(definition["name"]).decode()
        yield create(definition, home)
        if kind == "sequence":  # a row inserted takes the place of the only one
            yield (SEQUENCE % (name, extra["position"], extra["cycles"], name)).encode()
        table = tables.get((kind, definition["name"]), {"ranges": []})
        for part in table["ranges"]:
            yield from inserts(table, read(part))
        if "auto_increment" in extra:
            yield f"ALTER TABLE {name} AUTO_INCREMENT = {extra['auto_increment']};\n".encode()
    yield f"ALTER DATABASE COLLATE {home['collation']};\n-- complete\n".encode()

def main(path, database=None):
    key, path = bytes.fromhex(os.environ.get("BACKUP_ENCRYPTION_KEY", "")), Path(path)
    manifest, secret = read_manifest(path, key)
    records = read_index(read_payload(path.parent, manifest, secret))
    need(database or len(manifest["databases"]) == 1, f"name one of {manifest['databases']}")
    read = functools.partial(read_range, path.parent, records[0])
    for part in (part for record in records for part in record["ranges"]):
        read(part)  # everything once, before the first line is printed
    sys.stdout.buffer.writelines(statements(records, database or manifest["databases"][0], read))

if __name__ == "__main__":
    main(*sys.argv[1:])
