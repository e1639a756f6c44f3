"""Every verb of the trusted core: one keyword-only function, one transaction, one audit entry."""

from __future__ import annotations

from governance.actions.emergencies import break_glass, revert_due
from governance.actions.events import note_event
from governance.actions.factors import (
    add_authenticator,
    remove_authenticator,
    renew_recovery_codes,
    use_code,
)
from governance.actions.holding import hold, lift_hold
from governance.actions.installing import (
    ReleaseDraft,
    install_pointer,
    install_policy,
    install_task,
    policy_manifest,
    register_release,
    register_version,
)
from governance.actions.passkeys import add_passkey, remove_passkey, use_passkey
from governance.actions.people import change_password, create_person, grant_role, keep_account, revoke_role
from governance.actions.promoting import promote
from governance.actions.proposing import (
    EvidenceItem,
    ProposalDraft,
    begin_verification,
    finish_verification,
    open_proposal,
    withdraw,
)
from governance.actions.resetting import reset_factors
from governance.actions.reverting import revert, revert_lineage
from governance.actions.reviewing import acknowledge, review
from governance.actions.stopping import resume, stop
from governance.actions.upkeep import expire_due, promote_due, refresh_stale
from governance.actions.viewing import mark_seen

__all__ = [
    "EvidenceItem",
    "ProposalDraft",
    "ReleaseDraft",
    "acknowledge",
    "add_authenticator",
    "add_passkey",
    "begin_verification",
    "break_glass",
    "change_password",
    "create_person",
    "expire_due",
    "finish_verification",
    "grant_role",
    "hold",
    "install_pointer",
    "install_policy",
    "install_task",
    "keep_account",
    "lift_hold",
    "mark_seen",
    "note_event",
    "open_proposal",
    "policy_manifest",
    "promote",
    "promote_due",
    "refresh_stale",
    "register_release",
    "register_version",
    "remove_authenticator",
    "remove_passkey",
    "renew_recovery_codes",
    "reset_factors",
    "resume",
    "revert",
    "revert_due",
    "revert_lineage",
    "review",
    "revoke_role",
    "stop",
    "use_code",
    "use_passkey",
    "withdraw",
]
