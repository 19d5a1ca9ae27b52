"""Who may read: nobody in particular on loopback; elsewhere who logs in, or whom the reverse proxy names."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import argon2
import httpx2
import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from heartwire.cli.main import cli
from heartwire.errors import BadConfig, UsageProblem
from heartwire.monitor import settings
from heartwire.monitor.settings import WebSettings
from heartwire.web import access, passwords, sessions
from tests.unit.monitor.helpers import Clock
from tests.unit.web.room import Room

PASSWORD = "correct horse battery"
BOARD = {"name": "x", "port": "y"}


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a hash cost nothing: what it costs is the library's."""
    monkeypatch.setattr(passwords, "HASHER", argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a password file with anna."""
    path = tmp_path / "passwords"
    passwords.put(path, "anna", PASSWORD)
    return path


@pytest.fixture
def exposed(room: Room, file: Path) -> TestClient:
    """Return a browser at a page that everybody reaches."""
    room.web = WebSettings(listen="0.0.0.0:9734", password_file=file)
    return TestClient(room.app(), base_url="http://monitor.example", follow_redirects=False)


def token_of(page: httpx2.Response) -> str:
    """Return the token of the form on a page."""
    found = re.search(r'name="token" value="([0-9a-f]{64})"', page.text)
    assert found is not None, page.text
    return found[1]


def login(client: TestClient, name: str = "anna", password: str = PASSWORD, **changes: str) -> httpx2.Response:
    """Log in as a browser does."""
    token = token_of(client.get("/login"))
    return client.post("/login", data={"name": name, "password": password, "token": token, "next": "/", **changes})


def test_reading_is_open_on_loopback_only(client: TestClient, exposed: TestClient) -> None:
    assert client.get("/").status_code == 200
    page = exposed.get("/journal?node=a")
    assert page.status_code == 303
    assert page.headers["location"] == "/login?next=%2Fjournal%3Fnode%3Da"
    assert "rack-1" not in page.text
    for path in ("/rack/rack-1", "/why/1", "/notes", "/notifications", "/nothing"):
        assert exposed.get(path).status_code == 303
    assert exposed.get("/live").status_code == 401
    assert exposed.post("/").status_code == 401
    assert exposed.get("/static/style.css").status_code == 200


def test_who_logs_in_reads_and_who_logs_out_does_not(exposed: TestClient) -> None:
    answer = login(exposed, next="/journal?node=a")
    assert (answer.status_code, answer.headers["location"]) == (303, "/journal?node=a")
    cookie = answer.headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=lax", "Path=/"):
        assert part in cookie
    page = exposed.get("/")
    assert page.status_code == 200
    assert "anna" in page.text
    kept = exposed.cookies[access.COOKIE]
    assert exposed.post("/logout", data={"token": "0" * 64}).status_code == 403
    assert exposed.get("/").status_code == 200
    assert exposed.post("/logout", data={"token": token_of(page)}).status_code == 303
    exposed.cookies.set(access.COOKIE, kept)
    assert exposed.get("/").status_code == 303


def test_the_cookie_is_for_tls_where_it_came_so(room: Room, file: Path) -> None:
    room.web = WebSettings(listen="0.0.0.0:9734", password_file=file, certificate_file=file, certificate_key_file=file)
    client = TestClient(room.app(), base_url="https://monitor.example", follow_redirects=False)
    answer = login(client)
    assert "Secure" in answer.headers["set-cookie"]
    assert answer.headers["strict-transport-security"]


@pytest.mark.parametrize(
    ("name", "password"), [("anna", "wrong horse battery"), ("nobody", PASSWORD), ("", ""), ("anna", "x" * 5000)]
)
def test_a_wrong_name_and_a_wrong_password_are_refused_alike(exposed: TestClient, name: str, password: str) -> None:
    answer = login(exposed, name, password)
    assert answer.status_code == 403
    assert "the name or the password is wrong" in answer.text
    assert PASSWORD not in answer.text
    assert exposed.get("/").status_code == 303


def test_an_unknown_name_is_compared_as_long_as_a_known_one(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    real = argon2.PasswordHasher.verify

    def verify(self: argon2.PasswordHasher, digest: str, said: str) -> bool:
        compared.append(digest)
        return real(self, digest, said)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", verify)
    held = passwords.PasswordFile(file)
    assert held.check("nobody", PASSWORD) == ""
    assert held.check("anna", PASSWORD).startswith("$argon2id$")
    assert len(compared) == 2


def test_who_tries_too_often_waits(exposed: TestClient) -> None:
    for _ in range(sessions.TRIES_MAX):
        assert login(exposed, password="no such password").status_code == 403
    answer = login(exposed)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= sessions.TRIES_S


def test_tries_are_counted_by_address_by_name_and_in_all() -> None:
    clock = Clock()
    tries = sessions.Tries(clock)
    for _ in range(sessions.TRIES_MAX):
        tries.failed("address 1", "name a")
    assert tries.wait_s("address 2", "name a") == sessions.TRIES_S
    assert tries.wait_s("address 1", "name b") == sessions.TRIES_S
    assert tries.wait_s("address 2", "name b") == 0
    clock.now_s += sessions.TRIES_S
    assert tries.wait_s("address 1", "name a") == 0
    for number in range(sessions.TRIES_ALL):
        tries.failed(f"address {number}", f"name {number}")
    assert tries.wait_s("address x", "name x") == sessions.TRIES_S
    for number in range(2 * sessions.KEYS_MAX):
        tries.failed(f"address {number}")
    assert len(tries._by_key) <= sessions.KEYS_MAX


def test_a_session_ends_by_itself_and_there_are_not_too_many() -> None:
    clock = Clock()
    held = sessions.Sessions(clock)
    cookie = held.begin("anna", "proof")
    clock.now_s += sessions.IDLE_S
    assert held.find(cookie) is not None
    clock.now_s += sessions.IDLE_S + 1
    assert held.find(cookie) is None
    cookie = held.begin("anna", "proof")
    for _ in range(int(sessions.LIFE_S / sessions.IDLE_S)):
        clock.now_s += sessions.IDLE_S
        assert held.find(cookie) is not None
    clock.now_s += 1
    assert held.find(cookie) is None
    first = held.begin("anna", "proof")
    for _ in range(sessions.SESSIONS_MAX):
        held.begin("bert", "proof")
    assert held.find(first) is None
    assert len(held._by_key) == sessions.SESSIONS_MAX
    assert cookie not in repr(held._by_key)


def test_a_session_ends_with_its_password(exposed: TestClient, file: Path) -> None:
    login(exposed)
    assert exposed.get("/").status_code == 200
    passwords.put(file, "anna", "another horse battery")
    assert exposed.get("/").status_code == 303
    login(exposed, password="another horse battery")
    assert exposed.get("/").status_code == 200
    passwords.put(file, "anna", None)
    assert exposed.get("/").status_code == 303


def test_a_password_file_that_others_may_read_lets_nobody_in(exposed: TestClient, file: Path, room: Room) -> None:
    login(exposed)
    file.chmod(0o644)
    passwords.put(file.parent / "other", "x", PASSWORD)
    file.write_text(file.read_text() + "\n")
    assert exposed.get("/").status_code == 303
    answer = login(exposed)
    assert answer.status_code == 403
    assert "the monitor&#39;s log says why" in answer.text
    assert "0644" in room.log.getvalue()
    assert "argon2" not in room.log.getvalue()


def test_no_password_and_no_name_that_was_tried_is_logged(exposed: TestClient, room: Room) -> None:
    login(exposed, name=PASSWORD, password="no such password")
    login(exposed)
    assert PASSWORD not in room.log.getvalue()
    assert "login_refused" in room.log.getvalue()
    assert "person=anna" in room.log.getvalue()


@pytest.mark.parametrize(
    ("headers", "changes"),
    [
        ({"origin": "http://evil.example"}, {}),
        ({"origin": "null"}, {}),
        ({"sec-fetch-site": "cross-site"}, {}),
        ({"sec-fetch-site": "same-site"}, {}),
        ({}, {"token": ""}),
        ({}, {"token": "0" * 64}),
        ({}, {"token": "é"}),
    ],
)
def test_a_form_from_elsewhere_or_without_its_token_does_nothing(
    exposed: TestClient, headers: dict[str, str], changes: dict[str, str]
) -> None:
    fields = {"name": "anna", "password": PASSWORD, "token": token_of(exposed.get("/login")), **changes}
    assert exposed.post("/login", data=fields, headers=headers).status_code == 403
    assert access.COOKIE not in exposed.cookies
    login(exposed)
    token = changes.get("token", token_of(exposed.get("/")))
    assert exposed.post("/logout", data={"token": token}, headers=headers).status_code == 403
    assert exposed.get("/").status_code == 200


def test_the_token_of_another_browser_does_not_count(room: Room, exposed: TestClient) -> None:
    fields = {"name": "anna", "password": PASSWORD, "token": token_of(exposed.get("/login"))}
    other = TestClient(exposed.app, base_url="http://monitor.example", follow_redirects=False)
    other.get("/login")
    assert other.post("/login", data=fields).status_code == 403


@pytest.mark.parametrize(
    "data",
    [
        b"x" * 20_000,
        b"&".join(b"a%d=1" % number for number in range(50)),
        "name=ann\N{LATIN SMALL LETTER E WITH ACUTE}".encode(),
        b"\xff",
        b"",
    ],
)
def test_a_form_that_is_none_is_refused(exposed: TestClient, data: bytes) -> None:
    headers = {"content-type": access.FORM}
    assert exposed.post("/login", content=data, headers=headers).status_code == 403
    assert exposed.post("/login", content=data, headers={"content-type": "text/plain"}).status_code == 403


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "evil",
        "/\r\nX: 1",
        "/\t/evil",
        "javascript:1",
        "/" * 999,
    ],
)
def test_after_the_login_nobody_is_led_elsewhere(exposed: TestClient, address: str) -> None:
    page = exposed.get(f"/login?next={quote(address, safe='')}")
    assert 'name="next" value="/"' in page.text
    assert login(exposed, next=address).headers["location"] == "/"


def test_the_proxy_names_the_person_and_nobody_else_does(room: Room) -> None:
    room.web = WebSettings(listen="0.0.0.0:9734", proxy_header="X-Remote-User", proxy_address="192.0.2.7")
    app = room.app()
    proxy = TestClient(app, base_url="http://monitor.example", client=("192.0.2.7", 1), follow_redirects=False)
    page = proxy.get("/", headers={"x-remote-user": "anna"})
    assert page.status_code == 200
    assert "anna" in page.text
    assert proxy.get("/").status_code == 403
    assert proxy.get("/", headers={"x-remote-user": "<b>"}).status_code == 403
    assert proxy.get("/", headers=[("x-remote-user", "anna"), ("x-remote-user", "bert")]).status_code == 403
    other = TestClient(app, base_url="http://monitor.example", client=("192.0.2.8", 1), follow_redirects=False)
    page = other.get("/", headers={"x-remote-user": "anna"})
    assert page.status_code == 403
    assert "reverse proxy only" in page.text
    mapped = TestClient(app, client=("::ffff:192.0.2.7", 1))
    assert mapped.get("/", headers={"x-remote-user": "anna"}).status_code == 200


def test_behind_a_proxy_loopback_is_not_open(room: Room) -> None:
    room.web = WebSettings(proxy_header="X-Remote-User", proxy_address="127.0.0.1")
    client = TestClient(room.app(), base_url="http://localhost", client=("127.0.0.1", 1))
    assert client.get("/").status_code == 403
    assert client.get("/", headers={"X-Remote-User": "anna"}).status_code == 200


@pytest.mark.parametrize(
    ("web", "words"),
    [
        ({"listen": "0.0.0.0:1"}, "web.listen: 0.0.0.0:1 is not loopback, and whoever reaches it would read: name"),
        ({"listen": "[::]:1"}, "web.listen: [::]:1 is not loopback"),
        ({"listen": "monitor.example:1"}, "web.listen: monitor.example:1 is not loopback"),
        ({"listen": "0.0.0.0:1", "password_file": "p"}, "web.certificate_file: is missing: passwords would cross"),
        ({"proxy_header": "X-User"}, "web: proxy_header and proxy_address belong together"),
        ({"proxy_address": "192.0.2.7"}, "web: proxy_header and proxy_address belong together"),
        ({"proxy_header": "X User", "proxy_address": "192.0.2.7"}, "web.proxy_header: must be a header's name"),
        ({"proxy_header": "X-User", "proxy_address": "proxy"}, "web.proxy_address: must be a numeric address"),
        ({"certificate_file": "c"}, "web: certificate_file and certificate_key_file belong together"),
    ],
)
def test_who_would_reach_the_page_is_checked(web: dict[str, str], words: str) -> None:
    with pytest.raises(BadConfig) as caught:
        settings.settings_from({"board": [BOARD], "web": web})
    assert any(problem.startswith(words) for problem in caught.value.problems), caught.value.problems


def test_with_a_login_or_a_proxy_it_may_listen_anywhere(tmp_path: Path) -> None:
    files = {"password_file": "p", "certificate_file": "c", "certificate_key_file": "k"}
    for web in (files, {"proxy_header": "X-User", "proxy_address": "192.0.2.7"}):
        assert settings.settings_from({"board": [BOARD], "web": {"listen": "0.0.0.0:1", **web}}).web


def config_of(folder: Path) -> Path:
    path = folder / "monitor.toml"
    path.write_text('[[board]]\nname = "x"\nport = "y"\n[web]\npassword_file = "web.passwords"\n')
    return path


def run(*words: str, said: str = "") -> tuple[int, str]:
    """Run a command with what is typed; return its exit code and what it printed."""
    found = CliRunner().invoke(cli, ["monitor", *words], input=said)
    return found.exit_code if not isinstance(found.exception, UsageProblem | BadConfig) else 2, found.output


def test_the_command_makes_changes_and_takes_out_an_entry(tmp_path: Path) -> None:
    config, path = config_of(tmp_path), tmp_path / "web.passwords"
    code, output = run("password", "anna", "-c", str(config), said=f"{PASSWORD}\n{PASSWORD}\n")
    assert code == 0, output
    assert PASSWORD not in output
    assert path.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in path.read_text()
    assert passwords.PasswordFile(path).check("anna", PASSWORD)
    assert run("password", "bert", "--file", str(path), said=f"{PASSWORD}\n{PASSWORD}\n")[0] == 0
    assert set(passwords.read(path)) == {"anna", "bert"}
    assert "the new password" in run("password", "bert", "-c", str(config), said=f"{PASSWORD}2\n{PASSWORD}2\n")[1]
    assert run("password", "bert", "--file", str(path), "--remove")[0] == 0
    assert set(passwords.read(path)) == {"anna"}
    assert run("password", "bert", "--file", str(path), "--remove")[0] == 2


@pytest.mark.parametrize(("name", "said"), [("a b", PASSWORD), ("anna:", PASSWORD), ("anna", "short"), ("", PASSWORD)])
def test_a_bad_name_or_a_short_password_makes_no_entry(tmp_path: Path, name: str, said: str) -> None:
    path = tmp_path / "web.passwords"
    assert run("password", name, "--file", str(path), said=f"{said}\n{said}\n")[0] == 2
    assert not path.exists()


@pytest.mark.parametrize("line", ["anna", "anna:secret", "an na:$argon2id$x", ":$argon2id$x", "anna:$argon2i$x"])
def test_a_line_that_is_no_entry_is_named_and_not_quoted(tmp_path: Path, line: str) -> None:
    path = tmp_path / "p"
    path.write_text(f"# people\n{line}\n")
    path.chmod(0o600)
    with pytest.raises(BadConfig, match="line 2: must be NAME:HASH") as caught:
        passwords.read(path)
    assert "secret" not in caught.value.words


def test_check_looks_into_the_password_file_and_the_key(tmp_path: Path) -> None:
    from heartwire.monitor import needs

    found = settings.load(config_of(tmp_path))
    assert "no such password file" in needs.check_secrets(found)[0]
    passwords.put(tmp_path / "web.passwords", "anna", PASSWORD)
    assert needs.check_secrets(found) == []
