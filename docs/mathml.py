"""Mathematics as MathML, set when the site is built: a page needs no script and no network to show it."""

import latex2mathml.converter
from docutils import nodes


def setup(app):
    """Register the renderer with Sphinx."""
    app.add_html_math_renderer("mathml", (inline, None), (display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def inline(writer, node):
    """A formula in a line."""
    writer.body.append(latex2mathml.converter.convert(node.astext()))
    raise nodes.SkipNode


def display(writer, node):
    """A formula of its own line."""
    formula = latex2mathml.converter.convert(node.astext(), display="block")
    writer.body.append(f'<div class="formula">{formula}</div>')
    raise nodes.SkipNode
