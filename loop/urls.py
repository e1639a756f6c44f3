"""Pages of the loop: campaigns with live progress, and the trajectories of their rollouts."""

from __future__ import annotations

from django.urls import path

from loop import api, views

app_name = "loop"

urlpatterns = [
    path("campaigns/", views.campaign_list, name="campaigns"),
    path("campaigns/running/", views.running_strip, name="running"),
    path("campaigns/<str:ref>/", views.campaign_page, name="campaign"),
    path("campaigns/<str:ref>/live/", views.campaign_live, name="campaign-live"),
    path("campaigns/<str:ref>/generations/<int:number>/", views.generation_page, name="generation"),
    path("api/v1/campaigns", api.start_campaign, name="api-campaigns"),
    path("rollouts/<int:pk>/", views.rollout_page, name="rollout"),
]
