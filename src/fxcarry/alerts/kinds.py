"""What alerts are about."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

Severity = Literal["info", "warning", "critical"]


class AlertKind(StrEnum):
    """What an alert is about: ``Alert.kind``."""

    ENGINE_START = "engine-start"
    ENGINE_STOP = "engine-stop"
    ENGINE_CRASH = "engine-crash"
    HEARTBEAT_MISSED = "heartbeat-missed"
    OPERATOR = "operator"
    TRADE_EXECUTED = "trade-executed"
    POSITION_CLOSED = "position-closed"
    TRADING_STATE = "trading-state"
    STOP_LOSS = "stop-loss"
    STOP_MISSING = "stop-missing"
    RISK_LIMIT = "risk-limit"
    FEED_ERROR = "feed-error"
    BROKER_ERROR = "broker-error"
    ORDER_REJECTED = "order-rejected"
    ORDER_WAITING = "order-waiting"
    LATE_FILL = "late-fill"
    ORDER_UNKNOWN = "order-unknown"
    RECONCILIATION_BREAK = "reconciliation-break"
    FINANCING_LEAK = "financing-leak"
    ROLLOVER_TONIGHT = "rollover-tonight"
    MILESTONE = "milestone"
    DIGEST = "digest"
    CLOCK_JUMP = "clock-jump"
    LIQUIDATION = "liquidation"
    PLAN_REFUSED = "plan-refused"
    PERFORMANCE_LOG = "performance-log"
    HELD_BACK = "held-back"
    SELF_TEST = "self-test"
