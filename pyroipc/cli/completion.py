"""``pyroipc completion``: a script that teaches a shell to complete the words of the command.

The words are taken from the parsers of all subcommands, so that there is no second list of them.
What is neither a subcommand nor an option is completed as a file.
"""

from __future__ import annotations

import argparse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    Words: TypeAlias = dict[str, str]
    Tree: TypeAlias = dict[str, Words]

_SHELLS = ("bash", "zsh", "fish")
_HOW_TO = {
    "bash": "pyroipc completion bash > ~/.local/share/bash-completion/completions/pyroipc",
    "zsh": "pyroipc completion zsh > a file _pyroipc in a directory of $fpath",
    "fish": "pyroipc completion fish > ~/.config/fish/completions/pyroipc.fish",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this subcommand to its parser."""
    parser.add_argument("shell", choices=_SHELLS, help="the shell that the script is for")


def run(options: argparse.Namespace) -> int:
    """Print the script; return the exit status."""
    from pyroipc.cli import full_parser

    make = {"bash": _bash, "zsh": _zsh, "fish": _fish}[options.shell]
    first, *lines = make(tree_of(full_parser()))
    print(first)  # zsh looks at the first line
    print(f"# To install it: {_HOW_TO[options.shell]}")
    for line in lines:
        print(line)
    return 0


def tree_of(parser: argparse.ArgumentParser) -> Tree:
    """Return the words that may follow each chain of subcommands, and what they mean."""
    return dict(_walk(parser, ""))


def _walk(parser: argparse.ArgumentParser, path: str) -> Iterator[tuple[str, Words]]:
    words: Words = {}
    below = []
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to ask
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for choice in action._choices_actions:  # noqa: SLF001
                words[choice.dest] = choice.help or ""
            below += list(action.choices.items())
        elif action.option_strings:
            words.update(dict.fromkeys(action.option_strings, action.help or ""))
        else:
            words.update(dict.fromkeys(map(str, action.choices or ()), ""))
    summaries = {word: _short(text) for word, text in words.items()}
    yield path, summaries
    for name, child in below:
        yield from _walk(child, f"{path} {name}".strip())


def _short(text: str) -> str:
    """Return what an option means in a few plain characters."""
    text = text.partition(" (default")[0].partition("; ")[0].replace("%%", "%")
    return "".join(character for character in text if character not in "'\"\\`$:[]%")


def _bash(tree: Tree) -> Iterator[str]:
    yield "_pyroipc() {"
    yield '    local current=${COMP_WORDS[COMP_CWORD]} chain="" word words'
    yield from _find_chain('"${COMP_WORDS[@]:1:COMP_CWORD-1}"', tree)
    yield '    case "$chain" in'
    for path, words in tree.items():
        yield f"        '{path}') words='{' '.join(words)}' ;;"
    yield "    esac"
    yield '    COMPREPLY=($(compgen -W "$words" -- "$current"))'
    yield "}"
    yield "complete -o default -F _pyroipc pyroipc"


def _zsh(tree: Tree) -> Iterator[str]:
    yield "#compdef pyroipc"
    yield "_pyroipc() {"
    yield '    local chain="" word'
    yield "    local -a offered"
    yield from _find_chain('"${(@)words[2,CURRENT-1]}"', tree)
    yield '    case "$chain" in'
    for path, words in tree.items():
        described = " ".join(f"'{word}:{text}'" for word, text in words.items())
        yield f"        '{path}') offered=({described}) ;;"
    yield "    esac"
    yield "    _describe 'pyroipc' offered"
    yield "    _files"
    yield "}"
    # zsh calls a file of $fpath as the function of that name; else it was read with source.
    yield 'if [ "$funcstack[1]" = _pyroipc ]; then _pyroipc "$@"'
    yield "else compdef _pyroipc pyroipc; fi"


def _find_chain(words_before: str, tree: Tree) -> Iterator[str]:
    """Yield the lines that put the subcommands on the command line together, for both shells."""
    yield f"    for word in {words_before}; do"
    yield '        case "$chain $word" in'
    chains = "|".join(f"'{' ' if ' ' not in path else ''}{path}'" for path in tree if path)
    yield f'            {chains}) chain="${{chain:+$chain }}$word" ;;'
    yield "        esac"
    yield "    done"


def _fish(tree: Tree) -> Iterator[str]:
    for path, words in tree.items():
        chain = path.split()
        conditions = [f"__fish_seen_subcommand_from {word}" for word in chain]
        below = [word for word in words if f"{path} {word}".strip() in tree]
        if below:
            conditions.append(f"not __fish_seen_subcommand_from {' '.join(below)}")
        condition = "; and ".join(conditions) or "true"
        for word, text in words.items():
            yield (
                f"complete -c pyroipc -n '{condition}' {_fish_word(word)}"
                + (f" -d '{text}'" if text else "")
            )


def _fish_word(word: str) -> str:
    if word.startswith("--"):
        return f"-l {word[2:]}"
    if word.startswith("-"):
        return f"-s {word[1:]}"
    return f"-f -a {word}"
