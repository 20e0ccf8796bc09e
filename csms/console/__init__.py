"""The operator's console: pages in the browser over the operations of the API, for people who have logged in.

Here is the frame: application, visits, presentation, languages. A page is a handler (`@page`, `@action`) in the `pages`
of a feature, a template here, and its tab in `frame.py`; what it shows or does is an operation of an `api`
(`visit.py`). Search, order and file (CSV) of a list: `listing.py`; what is done to many rows at once is asked by
`bulk.py`. A translation: `texts/LANGUAGE.toml`, by `languages.py`.
Jinja2 templates, forms and links work without a script; with one, a tab follows a stream (SSE) of what changes in the
page's parts marked `data-live` and in its charts (`live.py`). So a small team keeps no build step, second language or
browser state. uPlot draws charts, at a pinned version with its licence in the wheel. The policy (CSP) allows no inline
script or style. Access, audit and hidden tokens are those of the API's operations. Sessions are rows of the database,
not of the framework, whose own take the id that a browser brings: each login makes a new one.
"""
