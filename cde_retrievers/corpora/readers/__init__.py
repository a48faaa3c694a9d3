"""Files of many kinds as Markdown: HTML, PDF, Word, EPUB, notebooks, reStructuredText and source code."""
