"""Writes `examples/guides/commands.md`, one section a command, from the commands themselves.

`python -m tests.helpers.command_pages` brings the file up to date.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import typer.main

from lure_cli.cli import build_app
from tests.helpers.files import EXAMPLES

PAGE = EXAMPLES / "guides" / "commands.md"
INTRO = """# Commands

Every command with all its options, as `--help` shows them. This page is generated from the commands
(`python -m tests.helpers.command_pages`); the other guides say what they are good for.
"""
KINDS = {str: "TEXT", int: "INT", float: "NUMBER", Path: "PATH"}
SHELL = ("install_completion", "show_completion")
"""Typer's own options, which stand here in Typer's words: what they say depends on its version."""


def page() -> str:
    """The whole page; the same for every version of Typer and width of the terminal."""
    return "\n".join([INTRO, *(section(path, command) for path, command in commands("lure", root()))])


def root() -> Any:
    """`lure` as the parser's own object."""
    return typer.main.get_command(build_app())


def commands(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    """A command and all below it, in the order of `--help`, each with the words that call it."""
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(f"{path} {name}", child)


def section(path: str, command: Any) -> str:
    """Heading, usage, help, a table of options for each group of them, and one of the commands below."""
    parts = [f"## {path}\n", f"```text\n{usage(path, command)}\n```\n", f"{paragraphs(command.help)}\n"]
    groups: dict[str, list[Any]] = {"": []}
    for param in command.params:
        if param.name not in SHELL and not param.hidden:
            groups.setdefault(getattr(param, "rich_help_panel", None) or "", []).append(param)
    kinds = typing.get_type_hints(command.callback) if command.callback else {}
    for title, params in ((title, params) for title, params in groups.items() if params):
        parts += [f"### {title}\n"] if title else []
        parts.append(table("option", ((f"`{syntax(p, kinds.get(p.name))}`", meaning(p)) for p in params)))
    if children := getattr(command, "commands", {}):
        names = {f"{path} {name}": child for name, child in children.items()}
        links = ((f"[{name}](#{name.lower().replace(' ', '-')})", summary(c.help)) for name, c in names.items())
        parts.append(table("command", links))
    return "\n".join(parts)


def table(what: str, rows: Iterable[tuple[str, str]]) -> str:
    """Two columns; `<name>` in the second is no HTML."""
    lines = [(first, second.replace("<", r"\<")) for first, second in rows]
    body = "".join("| {} | {} |\n".format(*(cell.replace("|", r"\|") for cell in line)) for line in lines)
    return f"| {what} | what it does |\n| --- | --- |\n{body}"


def usage(path: str, command: Any) -> str:
    """Required options by name, then arguments; the rest is [OPTIONS]."""
    if getattr(command, "commands", {}):
        return f"{path} COMMAND ..."
    words = [path]
    kinds = typing.get_type_hints(command.callback)
    words += [syntax(p, kinds.get(p.name)).split(", ")[-1] for p in command.params if p.required and is_option(p)]
    words += ["[OPTIONS]"] if any(is_option(p) and not p.required for p in command.params) else []
    words += [syntax(p, None) if p.required else f"[{syntax(p, None)}]" for p in command.params if not is_option(p)]
    return " ".join(words)


def is_option(param: Any) -> bool:
    """Whether it is written with a dash; an argument is not."""
    return param.param_type_name == "option"


def syntax(param: Any, kind: Any) -> str:
    """How it is written, such as `-o, --output TEXT`."""
    if not is_option(param):
        name = param.metavar or param.name.upper()
        return name + ("..." if param.nargs == -1 and not name.endswith("...") else "")
    names = ", ".join([*sorted(param.opts, key=len), *param.secondary_opts])
    return names if param.is_flag else f"{names} {param.metavar or value_name(kind)}"


def value_name(kind: Any) -> str:
    """What a value is, from the type of the parameter: `int | None` and `list[int]` are an INT."""
    return KINDS.get(kind) or next(filter(None, map(value_name, typing.get_args(kind))), "")


def meaning(param: Any) -> str:
    """The help text, the default if there is one, and whether it has to be given."""
    text = " ".join((param.help or "").split())
    if is_option(param) and param.required:
        text += " **Required.**"
    if param.default is True:
        text += f" Default: `{param.opts[0]}`."
    elif param.default is not None and param.default is not False:
        text += f" Default: `{param.default}`."
    return text


def paragraphs(text: str | None) -> str:
    """A help text whose lines are not broken."""
    return "\n\n".join(" ".join(part.split()) for part in (text or "").strip().split("\n\n"))


def summary(text: str | None) -> str:
    """The first paragraph of a help text."""
    return paragraphs(text).split("\n\n")[0]


if __name__ == "__main__":
    PAGE.write_text(page())
