"""Pages of the review desk."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import path

from governance.assurance import api
from governance.desk import (
    account,
    audit,
    emergencies,
    factors,
    habits,
    inbox,
    passkeys,
    people,
    proposals,
    reading,
    record,
    stops,
    versions,
)

app_name = "desk"

urlpatterns = [
    path("", inbox.inbox, name="inbox"),
    path("login/", account.sign_in, name="login"),
    path("login/factor/", account.factor_page, name="login-factor"),
    path("account/", factors.account_page, name="account"),
    path("account/authenticator/new/", factors.new_authenticator, name="authenticator-new"),
    path("account/authenticator/confirm/", factors.confirm_authenticator, name="authenticator-confirm"),
    path("account/authenticator/remove/", factors.remove_authenticator, name="authenticator-remove"),
    path("account/codes/", factors.renew_codes, name="recovery-codes"),
    path("account/passkeys/new/", passkeys.new_passkey, name="passkey-new"),
    path("account/passkeys/confirm/", passkeys.confirm_passkey, name="passkey-confirm"),
    path("account/passkeys/remove/", passkeys.remove_passkey, name="passkey-remove"),
    path("account/passkeys/question/", passkeys.question, name="passkey-question"),
    path("password/", account.password_page, name="password"),
    path("logout/", LogoutView.as_view(next_page="desk:login"), name="logout"),
    path("proposals/<str:ref>/", proposals.proposal_page, name="proposal"),
    path("proposals/<str:ref>/act/", proposals.proposal_act, name="act"),
    path("proposals/<str:ref>/files/<int:index>/", proposals.diff_file, name="diff-file"),
    path("proposals/<str:ref>/seen/", reading.seen_file, name="seen"),
    path("proposals/<str:ref>/evidence/<str:name>/", reading.evidence_page, name="evidence"),
    path("reviewers/", habits.reviewers_page, name="reviewers"),
    path("proposals/<str:ref>/record/", record.decision_record, name="record"),
    path("tasks/", versions.task_list, name="tasks"),
    path("tasks/<slug:slug>/", versions.task_page, name="task"),
    path("tasks/<slug:slug>/revert/", versions.task_revert, name="revert"),
    path("tasks/<slug:slug>/hold/", emergencies.hold, name="hold"),
    path("tasks/<slug:slug>/glass/", emergencies.break_glass, name="glass"),
    path("people/", people.people_page, name="people"),
    path("people/roles/", people.propose_roles, name="roles"),
    path("people/factors/", people.reset_factors, name="factor-reset"),
    path("stops/lift/", emergencies.lift, name="lift"),
    path("stops/", stops.stops_page, name="stops"),
    path("stops/act/", stops.stops_act, name="stops-act"),
    path("audit/", audit.audit_list, name="audit"),
    path("audit/export/", audit.audit_export, name="audit-export"),
    path("audit/<int:seq>/", audit.audit_entry, name="audit-entry"),
    path("api/v1/audit/checkpoint", api.audit_checkpoint, name="api-checkpoint"),
    path("api/v1/audit/entries", api.audit_entries, name="api-entries"),
    path("api/v1/tasks/<slug:slug>/live", api.task_live, name="api-live"),
    path("api/v1/tasks/<slug:slug>/lease", api.task_lease, name="api-lease"),
]
