"""Configuration files in libconfig's notation, out of nested dicts."""


def config_text(value, indent=""):
    """A dict as libconfig: dicts are groups, lists are arrays; None is left out."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + escaped.replace("\n", "\\n").replace("\t", "\\t") + '"'
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(config_text(v) for v in value) + "]"
    lines = [f"{indent}  {key} = {config_text(v, indent + '  ')};\n"
             for key, v in value.items() if v is not None]
    return "{\n" + "".join(lines) + indent + "}"


def config_file_text(settings):
    return "".join(f"{key} = {config_text(value)};\n"
                   for key, value in settings.items() if value is not None)


def merge(into, changes):
    """Changes nested dicts in place; a value of None removes the key. Returns into."""
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        elif value is None:
            into.pop(key, None)
        else:
            into[key] = value
    return into
