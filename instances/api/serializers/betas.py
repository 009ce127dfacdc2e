"""Betas as plain dicts."""

from flags.models import Beta, BetaEnrolment
from instances.api import wire
from instances.api.shapes import betas as shapes


def beta_json(beta: Beta) -> shapes.Beta:
    shown: shapes.Beta = {
        "id": beta.slug,
        "label": beta.label,
        "started": wire.time_of(beta.started_at),
        "greenlight_only": beta.greenlight_only,
    }
    if beta.description:
        shown["description"] = beta.description
    if beta.more_info:
        shown["more_info"] = beta.more_info
    if beta.ended_at:
        shown["ended"] = wire.time_of(beta.ended_at)
    return shown


def account_beta_json(enrolment: BetaEnrolment) -> shapes.AccountBeta:
    beta = enrolment.beta
    return {
        "id": beta.slug,
        "label": beta.label,
        "description": beta.description or None,
        "started": wire.time_of(beta.started_at),
        "ended": wire.time_of(beta.ended_at) if beta.ended_at else None,
        "enrolled": wire.time_of(enrolment.enrolled_at),
    }
