"""Run parts of the campaign, and print their tables as Markdown."""

import importlib
import pkgutil
from collections.abc import Sequence

import click

from benchmarks import campaign
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import unknown_name
from dnnlib.flags import SETTINGS


def parts() -> list[str]:
    """Return the names of the parts: the files of this folder with a `main` of their own."""
    names = [module.name for module in pkgutil.iter_modules(campaign.__path__) if not module.ispkg]
    return sorted(name for name in names if name != "__main__")


def table(rows: Sequence[dict[str, object]]) -> str:
    """Return rows as a table in Markdown, with the columns in the order in which they come up."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [columns, ["---"] * len(columns)]
    lines += [[str(row.get(name, "")).replace("|", "\\|") for name in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@click.command(context_settings=SETTINGS)
@click.argument("names", metavar="[PART...]", nargs=-1)
@click.option("--full", is_flag=True, help="Hours instead of minutes.")
@click.option("--seed", default=0, help="Seed of what is drawn at random.")
@one_sentence_errors
def main(names: Sequence[str], full: bool, seed: int) -> None:
    """Run the parts of the campaign that are named, or all of them."""
    for name in names:
        if name not in parts():
            raise unknown_name("part", name, parts())
    for name in names or parts():
        rows = importlib.import_module(f"benchmarks.campaign.{name}").main(full, seed)
        click.echo(f"\n### {name}\n\n{table(rows)}", color=False)


if __name__ == "__main__":
    main()
