"""What `hitless init` guesses from a directory's files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hitless.config import Guess, detect, parse, template

FASTAPI = "from fastapi import FastAPI\n\napi: FastAPI = FastAPI()\n"
FLASK = "from flask import Flask\napp = Flask(__name__)\n"


@pytest.mark.parametrize(
    ("files", "command"),
    [
        (
            {"Procfile": "worker: x\nweb: gunicorn shop:app --bind 127.0.0.1:$PORT\n"},
            ("gunicorn", "shop:app", "--bind", "127.0.0.1:{port}"),
        ),
        ({"Procfile": "web: node server.js --port ${PORT:-3000}\n"}, ("node", "server.js", "--port", "{port}")),
        ({"package.json": json.dumps({"scripts": {"start": "node server.js"}})}, ("node", "server.js")),
        ({"package.json": json.dumps({"scripts": {"start": "next start"}})}, ("npm", "start")),
        ({"package.json": json.dumps({"scripts": {"start": "node a.js && node b.js"}})}, ("npm", "start")),
        ({"package.json": json.dumps({"main": "index.js"})}, ("node", "index.js")),
        ({"manage.py": "django", "shop/wsgi.py": ""}, ("gunicorn", "--bind", "127.0.0.1:{port}", "shop.wsgi")),
        ({"manage.py": "django"}, ("python", "manage.py", "runserver", "--noreload", "127.0.0.1:{port}")),
        ({"app.py": FASTAPI}, ("uvicorn", "app:api", "--port", "{port}")),
        ({"main.py": FLASK}, ("gunicorn", "--bind", "127.0.0.1:{port}", "main:app")),
        ({"server.py": "print()"}, ("python", "server.py")),
        ({"pyproject.toml": '[project.scripts]\nshop = "shop:main"\n'}, ("shop",)),
        ({"Procfile": "web: gunicorn x", "app.py": FASTAPI}, ("gunicorn", "x")),
    ],
)
def test_a_command_is_guessed_from_the_files(tmp_path: Path, files: dict[str, str], command: tuple[str, ...]) -> None:
    write(tmp_path, files)
    guess = detect(tmp_path)
    assert guess.command == command
    assert guess.because in files
    assert parse(template(guess.name, command=guess.command), path=tmp_path / "hitless.yaml").services


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"Procfile": "worker: x"},
        {"Procfile": "web: a 'b"},
        {"package.json": "{"},
        {"package.json": "[]"},
        {"package.json": '{"scripts": []}'},
        {"pyproject.toml": "["},
        {"pyproject.toml": "[tool.x]"},
        {"manage.py": "nothing"},
    ],
)
def test_nothing_is_guessed_from_files_that_say_nothing(tmp_path: Path, files: dict[str, str]) -> None:
    write(tmp_path, files)
    assert detect(tmp_path).command is None


def test_what_cannot_be_read_counts_as_not_there(tmp_path: Path) -> None:
    (tmp_path / "Procfile").mkdir()
    (tmp_path / "app.py").write_bytes(b"\xff")
    assert detect(tmp_path).command is None


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("checkout", "checkout"),
        ("My Shop_2", "my-shop-2"),
        ("2048", "app"),
        ("日本", "app"),
        ("a" * 60, "a" * 40),
        ("-x-", "x"),
    ],
)
def test_the_name_comes_from_the_directory(tmp_path: Path, directory: str, name: str) -> None:
    (tmp_path / directory).mkdir()
    assert detect(tmp_path / directory) == Guess(name=name)


def write(directory: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
