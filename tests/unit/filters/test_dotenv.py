# SPDX-License-Identifier: GPL-3.0-or-later
"""The env file: read alike by all who read it, and no wrong name gets in."""

from __future__ import annotations

import re

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.fediops.mastodon.plugins.filter.dotenv import dotenv
from ansible_collections.fediops.mastodon.plugins.plugin_utils import dotenv_names
from ansible_collections.fediops.mastodon.plugins.plugin_utils.dotenv import quote
from hypothesis import example, given
from hypothesis import strategies as st

printable = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1)
awkward = st.text("'\"\\$`# ={}()na", min_size=1)


def test_the_readers_of_these_tests_are_the_real_ones(readers, seen):
    text = "".join(f"FORM_{number}={form['written']}\n" for number, form in enumerate(seen))
    expected = {f"FORM_{number}": form["value"] for number, form in enumerate(seen)}
    for reader in readers.values():
        assert reader(text) == expected


def test_what_is_written_is_a_form_that_was_seen_to_be_read(seen):
    ours = [form for form in seen if form["ours"]]
    assert len(ours) > 20
    assert [quote(form["value"]) for form in ours] == [form["written"] for form in ours]


@given(values=st.lists(printable | awkward, min_size=1, max_size=6))
@example(values=["a\\", "x'"])
@example(values=["it's #1", "' #"])
def test_all_readers_read_what_was_meant_or_it_is_refused(readers, values):
    names = dotenv_names.AREAS["mail"]
    variables = {}
    for name, value in zip(names, values, strict=False):
        try:
            quote(value)
        except ValueError:
            continue
        variables[name] = value
    text = dotenv(variables)
    for reader in readers.values():
        assert reader(text) == variables


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"LOCAL_DOMAIN": "example.org"}, "LOCAL_DOMAIN=example.org\n"),
        ({"SINGLE_USER_MODE": True, "ES_ENABLED": False}, "SINGLE_USER_MODE=true\nES_ENABLED=false\n"),
        ({"SMTP_PORT": 587}, "SMTP_PORT=587\n"),
        ({"ALTERNATE_DOMAINS": ["a.example", "b.example"]}, "ALTERNATE_DOMAINS=a.example,b.example\n"),
        ({"ALTERNATE_DOMAINS": [], "WEB_DOMAIN": None, "CDN_HOST": ""}, ""),
        ({"S3_PERMISSION": "", "UPDATE_CHECK_URL": "", "S3_BUCKET": ""}, "S3_PERMISSION=''\nUPDATE_CHECK_URL=''\n"),
        ({"SMTP_FROM_ADDRESS": "Me <me@example.org>"}, "SMTP_FROM_ADDRESS='Me <me@example.org>'\n"),
        ({"DB_PASS": "a$b"}, "DB_PASS='a$b'\n"),
        ({"DB_PASS": "it's"}, 'DB_PASS="it\'s"\n'),
        (
            {"OTEL_TRACES_SAMPLER": "always_on", "http_proxy": "http://192.0.2.1:3128"},
            "OTEL_TRACES_SAMPLER=always_on\nhttp_proxy=http://192.0.2.1:3128\n",
        ),
        ({"MAX_TOOT_CHARS": 5000}, "MAX_TOOT_CHARS=5000\n"),
    ],
)
def test_values(variables, text):
    assert dotenv(variables) == text


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"LOCAL_DOMIAN": "x"}, "LOCAL_DOMIAN is not known to Mastodon: did you mean LOCAL_DOMAIN?"),
        ({"HTTP_PROXY": "x"}, "HTTP_PROXY is not known to Mastodon: did you mean http_proxy?"),
        ({"QXZJ": "x"}, "QXZJ is not known to Mastodon: nothing that is known is near it"),
        ({"LOCAL DOMAIN": "x"}, "'LOCAL DOMAIN' is not the name of an environment variable"),
        ({"A\nSELF_DESTRUCT": "x"}, "is not the name of an environment variable"),
        ({"DB_POOL": 5}, "DB_POOL must not be in this file: every process reads this file"),
        ({"WEB_CONCURRENCY": 5}, "WEB_CONCURRENCY must not be in this file: it is read before"),
        ({"SELF_DESTRUCT": "x"}, "SELF_DESTRUCT must not be set"),
        ({"REDIS_NAMESPACE": "x"}, "REDIS_NAMESPACE must not be set: Mastodon 4.4 removed it"),
        ({"SKIP_POST_DEPLOYMENT_MIGRATIONS": False}, "any value of it, false too"),
        ({"SMTP_LOGIN": {"a": 1}}, "SMTP_LOGIN: its value is neither text nor a number"),
        ({"ALTERNATE_DOMAINS": [["a"]]}, "ALTERNATE_DOMAINS: its value is neither text nor a number"),
        ({"SAML_CERT": "a\nb"}, "SAML_CERT: its value contains a line break"),
        ({"DB_PASS": "it's $5"}, "DB_PASS: its value cannot be written"),
        ({"DB_PASS": "C:\\"}, "DB_PASS: its value cannot be written"),
        (["LOCAL_DOMAIN"], "the environment must be a mapping, not list"),
    ],
)
def test_refusals(variables, told):
    with pytest.raises(AnsibleFilterError, match=re.escape(told)) as refused:
        dotenv(variables)
    assert str(refused.value).startswith("fediops.mastodon.dotenv: ")


def test_all_refusals_come_at_once_and_without_a_value():
    with pytest.raises(AnsibleFilterError) as refused:
        dotenv({"LOCAL_DOMIAN": "hunter2", "SELF_DESTRUCT": "hunter2", "DB_PASS": "hunter2'\\"})
    assert [name in str(refused.value) for name in ("LOCAL_DOMIAN", "SELF_DESTRUCT", "DB_PASS")] == [True] * 3
    assert "hunter2" not in str(refused.value)


def test_the_environment_of_one_process_may_hold_its_sizes():
    assert dotenv({"WEB_CONCURRENCY": 2, "DB_POOL": 5}, process=True) == "WEB_CONCURRENCY=2\nDB_POOL=5\n"
    with pytest.raises(AnsibleFilterError, match="SELF_DESTRUCT must not be set"):
        dotenv({"SELF_DESTRUCT": 1}, process=True)


def test_extra_names_are_taken_and_must_be_a_list():
    assert dotenv({"MY_FORK": 1}, extra_names=["MY_FORK"]) == "MY_FORK=1\n"
    with pytest.raises(AnsibleFilterError, match="SELF_DESTRUCT"):
        dotenv({"SELF_DESTRUCT": 1}, extra_names=["SELF_DESTRUCT"])
    with pytest.raises(AnsibleFilterError, match="extra_names must be a list, not str"):
        dotenv({"MY_FORK": 1}, extra_names="MY_FORK")


def test_no_name_is_in_two_lists():
    in_areas = [name for names in dotenv_names.AREAS.values() for name in names]
    assert len(in_areas) == len(set(in_areas)) > 280
    lists = (set(in_areas), set(dotenv_names.PER_PROCESS), set(dotenv_names.FORBIDDEN))
    assert sum(map(len, lists)) == len(set().union(*lists))
    assert set(in_areas) >= dotenv_names.EMPTY_MEANS_SOMETHING
