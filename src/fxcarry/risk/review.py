"""The review: every rule is asked, and what they say is merged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fxcarry.market import MarketView
from fxcarry.model import Account, Action, Decision, FloatArray, Proposal, RiskState, TradingState, Verdict
from fxcarry.protocols import RiskRule


def review(
    proposal: Proposal, rules: Sequence[RiskRule], view: MarketView, account: Account, state: RiskState
) -> Decision:
    """Ask every rule, merge, and ask once more about the merged result.

    Returns the weights that may be held (order of the proposal's legs); the very array of the proposal where nothing
    was cut. While the state is REDUCING nothing opens; once it is HALTED everything is zero.
    """
    findings = _findings(proposal, rules, view, account, state)
    if not findings and state.trading is TradingState.ACTIVE and not (state.stopped or state.locked):
        weights, action = proposal.weights, Action.ALLOW
    else:
        weights, action = _merged(proposal, findings, state)
        if weights is not proposal.weights:
            again = proposal.reweighted(weights)
            more = _findings(again, rules, view, account, state)
            if more:
                weights, second = _merged(again, more, state)
                action, findings = max(action, second), findings + more

    asked = (proposal, view, account, state)
    return Decision(account.at, weights, proposal.legs, findings, _state_after(action, state), rules, asked)


def _findings(
    proposal: Proposal, rules: Sequence[RiskRule], view: MarketView, account: Account, state: RiskState
) -> list[Verdict]:
    """The verdicts that demand something. A rule that offers ``is_quiet`` is asked only where it is not."""
    findings = []
    for rule in rules:
        is_quiet = getattr(rule, "is_quiet", None)
        if is_quiet is not None and is_quiet(proposal, state):
            continue
        verdict = rule(proposal, view, account, state)
        if verdict.action is not Action.ALLOW:
            findings.append(verdict)
    return findings


def _merged(proposal: Proposal, findings: Sequence[Verdict], state: RiskState) -> tuple[FloatArray, Action]:
    """Weights after every cap and the most severe action; the proposal's own array where nothing was cut."""
    action = max((v.action for v in findings), default=Action.ALLOW)
    if action >= Action.FLATTEN_HALT or state.trading is TradingState.HALTED:
        return np.zeros(len(proposal.weights)), action
    is_held = proposal.stage == "held"
    refuses = any(v.action in (Action.REJECT, Action.HALT_OPENING) for v in findings)  # a CLOSE beside it hides nothing
    opens_nothing = refuses or state.trading is TradingState.REDUCING
    capping = [(v.action >= Action.CLOSE, v.caps.tolist()) for v in findings if v.caps is not None]
    weights: list[float] = []
    is_cut = False
    for i, (weight, held, size) in enumerate(zip(proposal.weights.tolist(), proposal.held.tolist(), proposal.sizes)):
        allowed = size
        keeps = abs(held) if weight * held > 0 else 0.0
        is_reduction = 0 < size <= keeps
        for is_closing, caps in capping:
            cap = caps[i] if caps[i] > 0 else 0.0  # a cap that is no number lets nothing through
            if is_held or is_closing or not cap or not is_reduction:  # but for these a reduction always passes
                allowed = min(allowed, cap)
        leg = proposal.legs[i]
        is_barred = leg in state.locked or (leg, _sign(weight)) in state.stopped
        if not is_held and (opens_nothing or is_barred):
            allowed = min(allowed, keeps)
        is_cut = is_cut or allowed < size
        weights.append(allowed if weight > 0 else -allowed)
    return (np.array(weights) if is_cut else proposal.weights), action


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)


def _state_after(action: Action, state: RiskState) -> TradingState:
    if action >= Action.FLATTEN_HALT or state.trading is TradingState.HALTED:
        return TradingState.HALTED
    if action is Action.HALT_OPENING or state.trading is TradingState.REDUCING:
        return TradingState.REDUCING
    return TradingState.ACTIVE
