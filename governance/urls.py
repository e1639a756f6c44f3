"""Pages of the review desk."""

from __future__ import annotations

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from governance import api
from governance.views import audit, inbox, proposals, record, versions

app_name = "desk"

urlpatterns = [
    path("", inbox.inbox, name="inbox"),
    path("login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout/", LogoutView.as_view(next_page="desk:login"), name="logout"),
    path("proposals/<str:ref>/", proposals.proposal_page, name="proposal"),
    path("proposals/<str:ref>/act/", proposals.proposal_act, name="act"),
    path("proposals/<str:ref>/files/<int:index>/", proposals.diff_file, name="diff-file"),
    path("proposals/<str:ref>/record/", record.decision_record, name="record"),
    path("tasks/", versions.task_list, name="tasks"),
    path("tasks/<slug:slug>/", versions.task_page, name="task"),
    path("tasks/<slug:slug>/revert/", versions.task_revert, name="revert"),
    path("audit/", audit.audit_list, name="audit"),
    path("audit/export/", audit.audit_export, name="audit-export"),
    path("audit/<int:seq>/", audit.audit_entry, name="audit-entry"),
    path("api/v1/audit/checkpoint", api.audit_checkpoint, name="api-checkpoint"),
    path("api/v1/audit/entries", api.audit_entries, name="api-entries"),
    path("api/v1/tasks/<slug:slug>/live", api.task_live, name="api-live"),
]
