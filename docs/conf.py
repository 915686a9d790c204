"""How Sphinx makes the site of the pages that `build.py` writes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "gdlab"
author = "The gdlab authors"
extensions = ["myst_parser", "sphinx_design", "sphinx.ext.viewcode", "mathml"]
html_math_renderer = "mathml"
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "attrs_block", "attrs_inline"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "gdlab"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_copy_source = False
html_show_copyright = False
html_last_updated_fmt = None
python_maximum_signature_line_length = 100
toc_object_entries_show_parents = "hide"
pygments_style = "a11y-light"  # every word of it can be read on its paper
pygments_dark_style = "github-dark"
