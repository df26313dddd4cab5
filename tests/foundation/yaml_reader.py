"""Reads the YAML that deployment manifests and stemcell.MF are written in: block mappings and lists, plain and quoted
scalars, literal and folded texts, one-line {} and [] collections. No anchors, tags or complex keys.
"""

import json
import re

NULLS = ("", "~", "null", "Null", "NULL")
KEY = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s#'"\[\]{},&*!|>%@`-][^#]*?|-[^\s#][^#]*?)\s*:(?=\s|$)""")


class YamlError(ValueError):
    pass


def parse(text):
    """One document as dicts, lists, texts, numbers, booleans and None."""
    try:
        return json.loads(text)  # every JSON document is YAML
    except ValueError:
        pass
    lines = []
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.rstrip()
        if stripped in ("---", "...") and not lines or stripped.startswith("%"):
            continue
        lines.append((number, stripped.lstrip("\ufeff")))
    reader = _Reader(lines)
    value = reader.value(-1)
    if reader.peek() is not None:
        raise YamlError(f"line {reader.peek()[0]}: not understood: {reader.peek()[1]}")
    return value


class _Reader:
    def __init__(self, lines):
        self.lines, self.at = lines, 0

    def peek(self):
        """The next line that is neither empty nor a comment: (number, text, indentation)."""
        while self.at < len(self.lines):
            number, text = self.lines[self.at]
            if text.strip() and not text.lstrip().startswith("#"):
                return number, text, len(text) - len(text.lstrip(" "))
            self.at += 1
        return None

    def value(self, parent):
        """What is indented deeper than `parent`, or None."""
        found = self.peek()
        if found is None or found[2] <= parent:
            return None
        _number, text, indent = found
        content = text.strip()
        if content == "-" or content.startswith("- "):
            return self.sequence(indent)
        if KEY.match(content):
            return self.mapping(indent)
        self.at += 1
        return scalar(content)

    def sequence(self, indent):
        items = []
        while (found := self.peek()) and found[2] == indent and re.match(r"-(\s|$)", found[1].lstrip(" ")):
            number, text, _indent = found
            rest = text[indent + 1:]
            inner = len(rest) - len(rest.lstrip(" "))
            content = rest.strip()
            if not content or content.startswith("#"):
                self.at += 1
                items.append(self.value(indent))
            elif re.match(r"-(\s|$)", content) or KEY.match(content):
                # The rest of the line is the first line of a collection, deeper by what stands before it.
                self.lines[self.at] = (number, " " * (indent + 1 + inner) + content)
                items.append(self.value(indent))
            else:
                self.at += 1
                items.append(self.inline(content, indent))
        return items

    def mapping(self, indent):
        found_values = {}
        while (found := self.peek()) and found[2] == indent:
            number, text, _indent = found
            match = KEY.match(text.strip())
            if not match:
                raise YamlError(f"line {number}: no key: {text}")
            key, rest = scalar(match[1]), text.strip()[match.end():].strip()
            self.at += 1
            if rest and not rest.startswith("#"):
                found_values[key] = self.inline(rest, indent)
                continue
            following = self.peek()
            # A list may stand as deep as its key.
            level = indent - 1 if following and following[2] == indent and re.match(
                r"-(\s|$)", following[1].lstrip(" ")) else indent
            found_values[key] = self.value(level)
        return found_values

    def inline(self, text, indent):
        if re.fullmatch(r"[|>][+-]?\d?", text):
            return self.block(text, indent)
        # A quoted text may go on in the next lines.
        while text[0] in "\"'" and not _closed(text) and self.at < len(self.lines):
            text += " " + self.lines[self.at][1].strip()
            self.at += 1
        return scalar(text)

    def block(self, style, indent):
        kept, depth = [], None
        while self.at < len(self.lines):
            _number, text = self.lines[self.at]
            here = len(text) - len(text.lstrip(" "))
            if text.strip():
                if here <= indent:
                    break
                depth = here if depth is None else depth
            kept.append(text[depth or 0:])
            self.at += 1
        while kept and not kept[-1]:
            kept.pop()
        joined = "\n".join(kept) if style[0] == "|" else " ".join(kept)
        return joined if "-" in style else joined + "\n"


def _closed(text):
    if text[0] == '"':
        return re.match(r'"(?:[^"\\]|\\.)*"\s*(#.*)?$', text) is not None
    return re.match(r"'(?:[^']|'')*'\s*(#.*)?$", text) is not None


def scalar(text):
    text = text.strip()
    if text[:1] == '"':
        match = re.match(r'"(?:[^"\\]|\\.)*"', text)
        try:
            return json.loads(match[0]) if match else text
        except ValueError:
            return match[0][1:-1]
    if text[:1] == "'":
        match = re.match(r"'((?:[^']|'')*)'", text)
        return match[1].replace("''", "'") if match else text
    text = re.sub(r"\s+#.*$", "", text)
    if text[:1] in "{[":
        return flow(text)
    if text in NULLS:
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if re.fullmatch(r"[-+]?\d+", text):
        return int(text)
    if re.fullmatch(r"[-+]?(\d+\.\d*|\.\d+)([eE][-+]?\d+)?|[-+]?\d+[eE][-+]?\d+", text):
        return float(text)
    return text


def flow(text):
    """{a: b, c: [d]} on one line."""
    tokens = re.findall(r"""\s*("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[{}\[\],]|:(?=\s)|[^{}\[\],:]+(?::\S[^{}\[\],:]*)*)""",
                        text)
    position = 0

    def take():
        nonlocal position
        position += 1
        if position > len(tokens):
            raise YamlError(f"not closed: {text}")
        return tokens[position - 1].strip()

    def item():
        token = take()
        if token == "[":
            found = []
            while tokens[position:position + 1] and tokens[position].strip() != "]":
                found.append(item())
                if tokens[position:position + 1] and tokens[position].strip() == ",":
                    take()
            take()
            return found
        if token == "{":
            found = {}
            while tokens[position:position + 1] and tokens[position].strip() != "}":
                key = scalar(take())
                if tokens[position:position + 1] and tokens[position].strip() == ":":
                    take()
                    found[key] = item()
                else:
                    found[key] = None
                if tokens[position:position + 1] and tokens[position].strip() == ",":
                    take()
            take()
            return found
        return scalar(token)

    return item()
