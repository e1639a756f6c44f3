"""Signing in at the desk, and changing one's own password."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from governance.actions import change_password
from governance.desk.authentication import PasswordForm, SignInForm
from governance.desk.base import Visitor, desk_page

sign_in = LoginView.as_view(redirect_authenticated_user=True, authentication_form=SignInForm)


@require_http_methods(["GET", "HEAD", "POST"])
@desk_page
def password_page(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """Change one's own password: every other session of the account ends, this one gets a new key."""
    form = PasswordForm(visitor.person.user, request.POST or None)
    form.request = request
    if request.method == "POST" and form.is_valid():
        new = form.cleaned_data["new_password1"]
        change_password(person=visitor.person, password=new, by=visitor.actor)
        update_session_auth_hash(request, visitor.person.user)
        messages.success(request, "Your password is changed; your other sessions have ended.")
        return redirect("desk:inbox")
    return render(request, "desk/password.html", {"form": form}, status=400 if form.errors else 200)
