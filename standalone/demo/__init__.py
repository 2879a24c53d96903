"""The demo: a dataset goes in over REST, an adapter comes out, two answers stand side by side."""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console


def run_demo(
    base_url: str, api_key: str, out_dir: Path, console: Console, stopping: Callable[[], bool] = lambda: False
) -> int:
    """Run the main job against a running service; 0 if all went well, else 1 and why.

    Ends without a word when the service that it follows is ``stopping``.
    """
    from standalone.demo.story import tell  # noqa: PLC0415 - the dataset's script needs nothing of it

    return tell(base_url, api_key, out_dir, console, stopping)
