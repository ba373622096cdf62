"""`hitless.yaml`: reading it, describing it, writing the first one."""

from hitless.config.detect import Guess, detect
from hitless.config.findings import ConfigurationMissing, ConfigurationUnreadable, Finding, InvalidConfiguration, render
from hitless.config.project import Project, load, parse, warnings
from hitless.config.reference import reference
from hitless.config.schema import json_schema
from hitless.config.template import template

__all__ = [
    "ConfigurationMissing",
    "ConfigurationUnreadable",
    "Finding",
    "Guess",
    "InvalidConfiguration",
    "Project",
    "detect",
    "json_schema",
    "load",
    "parse",
    "reference",
    "render",
    "template",
    "warnings",
]
