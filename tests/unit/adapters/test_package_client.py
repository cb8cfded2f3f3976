"""Which variables, files and secrets a networked task gets."""

from pathlib import Path

from setpoint.adapters.runner import package_client
from setpoint.adapters.sandbox import Mount


def test_only_the_way_to_packages_is_relevant() -> None:
    """Indexes, certificates and proxies pass; what chooses a result, and everything else, does not."""
    passed = {
        "PIP_INDEX_URL": "a",
        "PIP_CERT": "b",
        "SSL_CERT_FILE": "c",
        "REQUESTS_CA_BUNDLE": "d",
        "https_proxy": "e",
        "NO_PROXY": "f",
        "npm_config_registry": "g",
        "GOPROXY": "h",
    }
    kept_out = dict.fromkeys(["PIP_TARGET", "PIP_USER", "GOFLAGS", "AWS_SECRET_ACCESS_KEY", "PATH", "MY_PROXY", "NPM_CONFIG_PREFIX"], "x")
    assert package_client.relevant({**passed, **kept_out}) == passed


def test_named_paths_are_mounted_with_what_they_link_to(tmp_path: Path) -> None:
    """A file or folder that a variable names exists inside at its own place, and a link's target too; URLs and missing paths do not."""
    wheels, certificate, link = tmp_path / "wheels", tmp_path / "real.pem", tmp_path / "ca.pem"
    wheels.mkdir()
    certificate.touch()
    link.symlink_to(certificate)
    variables = {"PIP_FIND_LINKS": f"https://x.example {wheels} file://{tmp_path}/missing", "PIP_CERT": str(link)}
    found = package_client.inspect(variables, tmp_path / "home.run" / "workspaces")
    assert found.environment == variables
    ours = {mount for mount in found.mounts if mount.target.startswith(str(tmp_path))}
    assert ours == {
        Mount("ro", str(wheels), str(wheels)),
        Mount("ro", str(certificate), str(link)),
        Mount("ro", str(certificate), str(certificate)),
    }


def test_a_folder_that_holds_the_home_is_never_mounted(tmp_path: Path) -> None:
    """`PIP_FIND_LINKS=/` or a parent of the home would show the home to a task: it stays out."""
    work = tmp_path / "home.run" / "workspaces"
    work.mkdir(parents=True)
    before = package_client.inspect({}, work).mounts
    assert package_client.inspect({"PIP_FIND_LINKS": f"/ {tmp_path} {work}"}, work).mounts == before


def test_a_path_that_the_sandbox_needs_is_mounted_aside() -> None:
    """Nothing is mounted over the workspace, /proc or /dev: the variable then names the place aside."""
    found = package_client.inspect({"PIP_CERT": "/proc/self/status"}, Path("/nowhere"))
    inside = found.environment["PIP_CERT"]
    assert inside.startswith("/run/setpoint/")
    assert inside in {mount.target for mount in found.mounts}


def test_credentials_are_found_in_variables_and_files(tmp_path: Path) -> None:
    """Passwords in URLs, tokens as user names, variables with telling names, and the same in configuration files are secrets."""
    pip, npm = tmp_path / "pip.conf", tmp_path / "npmrc"
    pip.write_text("[global]\nindex-url = https://reader:from-pip-conf@x.example/simple\n")
    npm.write_text("//x.example/:_authToken=from-npmrc\n")
    variables = {
        "PIP_INDEX_URL": "https://user:pass-word@x.example/simple https://plain@x.example",
        "HTTPS_PROXY": "http://a-token-that-is-long@proxy.example:3128",
        "NPM_CONFIG__AUTHTOKEN": "npm-token",
        "PIP_CONFIG_FILE": str(pip),
        "NPM_CONFIG_USERCONFIG": str(npm),
    }
    found = set(package_client.inspect(variables, Path("/nowhere")).secrets)
    assert found == {
        "user:pass-word",
        "pass-word",
        "a-token-that-is-long",
        "npm-token",
        "reader:from-pip-conf",
        "from-pip-conf",
        "from-npmrc",
    }
