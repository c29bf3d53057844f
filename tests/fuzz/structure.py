"""structure - changes inside the parts of a file, with lengths, checksums and offsets written anew around them.

Each function takes the bytes of a file, a random.Random, and `change`, which makes other bytes of some bytes.
"""

import io
import json
import zipfile

DEEPEST = 8  # levels of messages


def archive(data: bytes, random, change) -> bytes:
    """One member of the archive changed, left out, or there twice."""
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        members = [(name, source.read(name)) for name in source.namelist()]
    # the pickle says what the others are
    number = random.choice(
        [k for k, (name, _) in enumerate(members) if random.random() < 0.1 or name.endswith("data.pkl")]
    )
    name, content = members[number]
    fate = random.random()
    members[number : number + 1] = [] if fate < 0.02 else [(name, change(content))] * (2 if fate > 0.98 else 1)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as changed:
        for name, content in members:
            changed.writestr(name, content)
    return target.getvalue()


def dp(data: bytes, random, change) -> bytes:
    """The dictionary in the HDF5 file's attribute changed, in place."""
    begin = data.index(b'{"')
    end = data.index(b"\0", begin)
    return data[:begin] + change(data[begin:end])[: end - begin].ljust(end - begin) + data[end:]


def protobuf(data: bytes, random, change, depth: int = 0) -> bytes:
    """One field of the message, or of one inside it, changed, left out, or there twice."""
    fields = list(_fields(data))
    if not fields or depth == DEEPEST:
        return change(data)
    at = random.randrange(len(data))
    start, value, end, wire = random.choice(fields) if random.random() < 0.5 else next(f for f in fields if f[2] > at)
    fate = random.random()
    if fate < 0.04:
        return data[:start] + data[end:] if fate < 0.02 else data[:end] + data[start:]
    key, content = data[start:value], data[value:end]
    if wire == 2:
        key = key[: _varint(key, 0)[1]]
        try:
            content = protobuf(content, random, change, depth + 1) if random.random() < 0.9 else change(content)
        except ValueError:
            content = change(content)
        key += _encoded(len(content))
    elif wire == 0:
        number = _varint(content, 0)[0]
        content = _encoded(random.choice([number + 1, number - 1, 0, 1 << random.randrange(64), -1]) % (1 << 64))
    else:
        content = (change(content) + content)[: len(content)]
    return data[:start] + key + content + data[end:]


def _fields(data: bytes):
    """(start, start of the value, end, wire type) of each field of a message; ValueError if it is none."""
    at = 0
    while at < len(data):
        start = at
        key, at = _varint(data, at)
        wire, value = key & 7, at
        if wire == 0:
            _, end = _varint(data, at)
        elif wire == 2:
            length, value = _varint(data, at)
            end = value + length
        elif wire in (1, 5):
            end = at + (8 if wire == 1 else 4)
        else:
            raise ValueError("no such wire type")
        if key >> 3 == 0 or end > len(data):
            raise ValueError("no message")
        yield start, value, end, wire
        at = end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(data) and shift < 64:
        number |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 0x80:
            return number, at
    raise ValueError("no whole number")


def _encoded(number: int) -> bytes:
    parts = []
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def text(data: bytes, random, change) -> bytes:
    """One value of a JSON text changed; a YAML text as it comes."""
    tree = json.loads(data)
    node, key = None, None
    while isinstance(child := tree if node is None else node[key], (dict, list)) and child and random.random() < 0.95:
        node, key = child, random.choice(list(child if isinstance(child, dict) else range(len(child))))
    if node is None:
        return change(data)
    fate = random.random()
    if fate < 0.3:
        del node[key]
    elif fate < 0.6:
        node[key] = random.choice([None, True, -1, 0, 1, 2, 1e9, 1e400, "", "linear", [], {}, [0, 1], 10**30])
    else:
        node[key] = change(json.dumps(node[key]).encode()).decode(errors="replace")
    return json.dumps(tree).encode()


def pbtxt(data: bytes, random, change) -> bytes:
    """One line of a text changed behind its key, left out, there twice, or elsewhere too."""
    lines = data.split(b"\n")
    at = random.randrange(len(lines))
    fate = random.random()
    if fate < 0.2:
        lines[at : at + 1] = [] if fate < 0.1 else [lines[at]] * 2
    elif fate < 0.3:
        lines.insert(random.randrange(len(lines)), lines[at])
    else:
        key, colon, value = lines[at].partition(b": ")
        lines[at] = key + colon + change(value) if colon else change(key)
    return b"\n".join(lines)


MUTATORS = {"pb": protobuf, "pbtxt": pbtxt, "onnx": protobuf, "pth": archive, "pt": archive, "dp": dp, "yaml": text}
