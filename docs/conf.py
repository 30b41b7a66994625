"""How the documentation is built: ``make docs``."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "merian-campaign"
version = release = installed_version("merian-campaign")
html_title = f"merian-campaign {release}"

extensions = ["myst_parser", "campaign_reference"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_ext", "README.md"]
myst_heading_anchors = 3
myst_enable_extensions = ["attrs_inline"]

html_theme = "furo"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["tables.css"]
highlight_language = "text"
