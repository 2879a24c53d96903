"""All stories of the dashboard, in one file: so one process runs them, on one service with one browser.

A story is a module of `stories`; its tests are brought in here, and run in this order. They share the
service, so none may assume that it is alone but those of the shell, which come first.
"""

# isort: off
from tests.dashboard.stories.shell import *  # noqa: F403 - the tests of a story, whatever their names
from tests.dashboard.stories.settings import *  # noqa: F403 - as above
from tests.dashboard.stories.datasets import *  # noqa: F403 - as above
from tests.dashboard.stories.new_run import *  # noqa: F403 - as above
from tests.dashboard.stories.side_by_side import *  # noqa: F403 - as above
from tests.dashboard.stories.whole import *  # noqa: F403 - as above
from tests.dashboard.stories.runs import *  # noqa: F403 - as above
from tests.dashboard.stories.onwards import *  # noqa: F403 - as above
