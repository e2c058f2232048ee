"""The documentation's site: every directive, option and code has its page, each page is found, each link leads somewhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Serve
from mod_python._doctor import names
from mod_python._own import command

from httpd import PROJECT

sys.path.append(str(PROJECT / "tools"))
import docs_manual

import docs as making

INSTRUCTIONS = ["FROM", "COPY", "RUN", "WORKDIR", "ENV", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "CMD"]


@pytest.fixture(scope="module")
def site() -> making.Site:
    site = making.Site()
    site.read()
    return site


def test_every_option_has_a_row_and_a_page(site: making.Site) -> None:
    """tests/test_doctor.py compares these names with the module's."""
    rows = [name for name, _ in making.ROW.findall((PROJECT / "docs/options.md").read_text())]
    assert set(names.OPTIONS) - set(rows) == set(), "rows that docs/options.md needs"
    assert set(rows) - set(names.OPTIONS) == set() and len(rows) == len(set(rows))
    assert all(f"options/{name}.md" in site.pages for name in rows)


@pytest.mark.parametrize(("page", "level"), [("directives", "##"), ("options", "##"), ("codes", "###")])
def test_sections_are_of_what_there_is(site: making.Site, page: str, level: str) -> None:
    text = (PROJECT / f"docs/{page}.md").read_text()
    found = set(re.findall(rf"^{level} (\S+)$", text, re.M))
    pages = {Path(place).stem for place in site.children[f"{page}.md"]}
    assert found <= pages and len(pages) > 30
    if page == "directives":
        assert pages - found == set(), (
            "sections that docs/directives.md needs: what a reader has to know, and an example"
        )
    listed = site.finished(f"{page}.md")
    assert all(f"]({page}/{name}.md)" in listed for name in pages)
    assert not re.search(rf"^{level} (Python|mod_python\.|MP\d)", listed, re.M)


def test_options_have_the_examples_that_httpd_takes(serve: Serve) -> None:
    """Of each default that is a value."""
    rows = [(name, making.cells(rest)) for name, rest in making.ROW.findall((PROJECT / "docs/options.md").read_text())]
    plain = [f"PythonOption {name} {cells[1]}\n" for name, cells in rows if re.fullmatch(r"(?!none)[\w.-]+", cells[1])]
    assert len(plain) > 20
    checked = serve("".join(plain), start=False).check()
    assert checked.returncode == 0 and "is not known" not in checked.stderr, checked.stderr


def test_every_page_is_found_and_every_link_leads_somewhere(site: making.Site) -> None:
    """MkDocs looks at anchors, too (`make docs`); this is what needs nothing installed."""
    listed = set(re.findall(r'"([\w./-]+\.md)"', json.dumps(site.nav())))
    assert listed | {"bench/quick.md"} == set(site.pages)
    for place in site.pages:
        text = making.FENCE.sub("", site.finished(place))
        text = re.sub(r"^    .*$|`[^`\n]*`", "", text, flags=re.M)
        for link in re.findall(r"\]\(([^)\s#]+)[^)\s]*\)", text):
            target = os.path.normpath(os.path.join(os.path.dirname(place), link))
            assert "://" in link or target in site.pages or target in site.files, (place, link)


def test_names_in_code_lead_to_their_pages(site: making.Site) -> None:
    page = site.finished("guide/wsgi.md")
    assert "[`PythonHome /srv/venv`](../directives/PythonHome.md)" in page
    assert page.count("](../directives/PythonHome.md)") == 1
    assert "[`PythonOption mod_python.form.charset cp1252`](../options/mod_python.form.charset.md)" in site.finished(
        "guide/forms.md"
    )


def test_the_library_has_signatures_and_texts(site: making.Site) -> None:
    page = site.pages["library/util.md"]
    assert "redirect(\n    req: mp_request,\n    location: str,\n    permanent: int = 0,\n" in page
    assert "    body: Union[bytes, str] = b'',\n" in site.pages["library/testing.md"]
    assert "\nlog_error(message: str, level: int = 0, /) -> None\n" in site.pages["library/testing.md"]
    assert "## FieldStorage" in page and "FieldStorage.getfirst" in page
    assert "| `OK` | `0` |" in site.pages["library/apache.md"]
    assert all(f"library/{name}.md" in site.pages for name in ("Session", "Cookie", "testing", "httpdconf"))


def test_the_manual_is_a_page() -> None:
    page = docs_manual.page((PROJECT / "docs/mod_python.1").read_text())
    assert "`--https-cert FILE`" in page and "## Exit status" in page and "\\f" not in page and "\\-" not in page


def test_nothing_is_fetched_from_elsewhere() -> None:
    for path in (PROJECT / "docs/theme").iterdir():
        assert not re.search(r"(?:https?:)?//\w+\.\w", path.read_text()), path
    for path in (PROJECT / "docs/pictures").glob("*.svg"):
        text = path.read_text()
        assert "prefers-color-scheme:dark" in text and "<title" in text and len(re.findall("https?://", text)) == 1, (
            path
        )


def instructions() -> list[tuple[str, str]]:
    text = (PROJECT / "docs/Dockerfile").read_text()
    lines = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", text, flags=re.M)).splitlines()
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines if line.strip())]


def test_the_dockerfile_is_one() -> None:
    found = instructions()
    assert [name for name, _ in found if name not in INSTRUCTIONS] == [] and found[0][0] == "FROM"
    stages = [rest.split(" AS ") for name, rest in found if name == "FROM"]
    for image, *_ in stages:
        assert ":" in image and not image.endswith(":latest")
    for name, rest in found:
        if name == "COPY" and rest.startswith("--from="):
            assert rest.split()[0].removeprefix("--from=") in [
                stage for _, stage in (one for one in stages if len(one) == 2)
            ]
        if name == "RUN":
            subprocess.run(["/bin/sh", "-n", "-c", rest], check=True)
            assert "apt-get install" not in rest or (
                "--no-install-recommends" in rest and "rm -rf /var/lib/apt/lists" in rest
            )
        if name == "HEALTHCHECK":
            assert json.loads(rest.partition("CMD ")[2])[0] == "python"
    assert [rest for name, rest in found if name == "USER"][-1] not in ("root", "0")


def test_the_dockerfile_starts_what_there_is() -> None:
    (text,) = [rest for name, rest in instructions() if name == "CMD"]
    program, verb, *arguments = json.loads(text)
    parsed = command.parser(verb).parse_args(arguments)
    port = dict(instructions())["EXPOSE"]
    assert program == "mod_python" and str(parsed.port) == port and parsed.host == "*"
