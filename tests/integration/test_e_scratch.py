import itertools
from sqlalchemy import text as real
from orthostat.statistics import database, release as rm
from tests.integration.test_release import *

def nolock(s):
    if "advisory" in s:
        return real("SELECT :" + ("key" if ":key" in s else "name"))
    return real(s)

def test_mig(database_url, monkeypatch):
    monkeypatch.setattr(database, "text", nolock)
    test_two_processes_may_migrate_at_once(database_url)

def test_rel(pipeline, database_url, monkeypatch):
    monkeypatch.setattr(rm, "text", nolock)
    test_concurrent_releases_of_different_periods_are_two_consistent_vintages(pipeline, database_url)

def test_rel2(pipeline, database_url, monkeypatch):
    monkeypatch.setattr(rm, "text", nolock)
    test_concurrent_releases_of_equal_figures_are_one(pipeline, database_url)
