"""What the host starts: the plugin's folder goes last on the path, then its main() is called."""

import argparse
import sys

parser = argparse.ArgumentParser()
parser.add_argument("--plugin_dir", required=True)
known, _ = parser.parse_known_args()
sys.path.append(known.plugin_dir)

import main  # noqa: E402

if callable(getattr(main, "main", None)):
    main.main()
