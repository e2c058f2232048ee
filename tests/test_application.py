"""An old-style application (publisher, PSP, Session, Cookie, FieldStorage), in a real browser."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser
from conftest import APPS, Serve, Server

from httpd import CHILD_USER, PROJECT

PICTURES = PROJECT / "target/screenshots"
CONFIG = """
<Directory @ROOT@/htdocs/guestbook>
    SetHandler mod_python
    PythonHandler mod_python.publisher
    PythonOption uploads @ROOT@/uploads
    PythonOption mod_python.session.session_type FileSession
    PythonOption mod_python.session.database_directory @ROOT@/sessions
</Directory>
"""


@pytest.fixture
def httpd(serve: Serve) -> Server:
    server = serve(CONFIG, children=4, threads=8, start=False)
    shutil.copytree(APPS / "guestbook", server.root / "htdocs/guestbook")
    os.system(f"chmod -R a+rX {server.root}/htdocs")
    for name in ("uploads", "sessions"):
        (server.root / name).mkdir()
        if os.geteuid() == 0:
            shutil.chown(server.root / name, CHILD_USER)
    return server.start()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.close()


def test_logging_in_uploading_and_logging_out(httpd: Server, browser: Browser, tmp_path: Path) -> None:
    browser.open(httpd.url("/guestbook/"))
    assert browser.text("h1") == "Please log in" and not browser.has("#error")
    browser.screenshot(PICTURES / "1-login.png")
    browser.type("#user", "<spam>")
    browser.type("#password", "wrong")
    browser.click("#login")
    assert browser.text("#error") == "<spam>, that was wrong"
    browser.screenshot(PICTURES / "2-wrong.png")
    browser.clear("#user")
    browser.type("#user", "spam")
    browser.type("#password", "eggs")
    browser.click("#login")
    assert browser.text("h1") == "Welcome, spam" and browser.url == httpd.url("/guestbook/")
    visits = browser.text("#visits")
    upload = tmp_path / "é & ä.bin"
    upload.write_bytes(os.urandom(3 << 20))
    browser.type("#file", str(upload))
    browser.type("#note", "a note: é")
    browser.click("#upload")
    assert browser.text("#files").splitlines() == ["é & ä.bin", "é & ä.bin.note"]
    assert browser.text("#visits") != visits
    browser.screenshot(PICTURES / "3-uploaded.png")
    assert (httpd.root / "uploads/é & ä.bin").read_bytes() == upload.read_bytes()
    assert (httpd.root / "uploads/é & ä.bin.note").read_text() == "a note: é"
    browser.click("#logout")
    assert browser.text("h1") == "Please log in"
    browser.screenshot(PICTURES / "4-out.png")
    browser.open(httpd.url("/guestbook/"))
    assert not browser.has("#files")
    assert all(picture.stat().st_size > 3000 for picture in PICTURES.glob("[1-4]-*.png"))


def test_what_the_browser_cannot_do(httpd: Server) -> None:
    assert httpd.get("/guestbook/upload", "POST").status == 500
    httpd.claim("missing 1 required positional argument: 'file'")
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="../../x"\r\n\r\n1\r\n--b--'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert httpd.get("/guestbook/upload", "POST", body=body, headers=headers).status == 403
    assert httpd.get("/guestbook/download?name=../../../etc/passwd").status == 404
    assert httpd.get("/guestbook/USERS").text == "{'spam': 'eggs'}"  # what a page does not hide is published
    assert httpd.get("/guestbook/_session").status == 403
    assert httpd.get("/guestbook/admin/count").status == 401
    secret = "Basic " + base64.b64encode(b"spam:eggs").decode()
    assert httpd.ok("/guestbook/admin/count", headers={"Authorization": secret}).text == "0 files"
