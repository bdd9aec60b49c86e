"""``edgecnn token``: what lets a person or a program into the page and the API."""

import argparse
import json
import os
from pathlib import Path

EXAMPLE = """\
  edgecnn token site.yaml                the token to type into the page
  edgecnn token --role viewer            of who may only look
  edgecnn token site.yaml --rotate       makes both anew: the old ones, and all sessions, end
  curl -H "Authorization: Bearer $(edgecnn token)" http://127.0.0.1:8090/api/cameras"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``edgecnn token``."""
    about = "the site whose state folder holds the tokens (default: the user's state folder)"
    parser.add_argument("site", metavar="SITE.yaml", type=Path, nargs="?", help=about)
    about = "who the token is for (default: operator, who may change cameras, too)"
    parser.add_argument("--role", choices=("operator", "viewer"), default="operator", help=about)
    parser.add_argument("--rotate", action="store_true", help="make both tokens anew first")
    parser.add_argument("--json", action="store_true", help="print both, and their folder, as JSON")


def run(args: argparse.Namespace) -> int:
    """Print a token."""
    from edgecnn_runtime.device.cache import default_cache_dir
    from edgecnn_runtime.errors import UsageError
    from edgecnn_runtime.web.tokens import load_tokens, token_file

    if args.site:
        from edgecnn_runtime.daemon.site import load_site

        state = load_site(args.site).state
    else:
        state = default_cache_dir()
        if not os.access(token_file(state, args.role), os.F_OK):
            raise UsageError(
                f"{state}: this user (uid {os.getuid()}) finds no token of a daemon there: "
                "`edgecnn token SITE.yaml` names its site; for a service set STATE_DIRECTORY"
            )
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    tokens = load_tokens(state, rotate=args.rotate)
    if args.json:
        everything = {"operator": tokens.operator, "viewer": tokens.viewer, "folder": str(state)}
        print(json.dumps(everything))
    else:
        print(getattr(tokens, args.role))
    return 0
