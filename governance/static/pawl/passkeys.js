// Passkeys (WebAuthn): make one, or have one answer the service's question. The answer travels in the form's hidden field.
"use strict";

(() => {
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const known = (list) => (list ?? []).map((item) => ({ ...item, id: bytes(item.id) }));

  const say = (form, sentence) => { form.querySelector("[data-passkey-note]").textContent = sentence; };

  const packed = (made, response) => JSON.stringify({ id: made.id, rawId: text(made.rawId), type: made.type, response });

  const create = async (form) => {
    const asked = JSON.parse(form.dataset.passkeyCreate);
    const publicKey = {
      ...asked,
      challenge: bytes(asked.challenge),
      user: { ...asked.user, id: bytes(asked.user.id) },
      excludeCredentials: known(asked.excludeCredentials),
    };
    const made = await navigator.credentials.create({ publicKey });
    form.elements.passkey.value = packed(made, {
      clientDataJSON: text(made.response.clientDataJSON),
      attestationObject: text(made.response.attestationObject),
    });
    form.submit();
  };

  const use = async (form, button) => {
    const headers = { "X-CSRFToken": form.elements.csrfmiddlewaretoken.value };
    const reply = await fetch(button.dataset.passkeyUse, { method: "POST", headers });
    if (!reply.ok) throw new Error(await reply.text());
    const asked = await reply.json();
    const publicKey = { ...asked, challenge: bytes(asked.challenge), allowCredentials: known(asked.allowCredentials) };
    const made = await navigator.credentials.get({ publicKey });
    form.elements.passkey.value = packed(made, {
      clientDataJSON: text(made.response.clientDataJSON),
      authenticatorData: text(made.response.authenticatorData),
      signature: text(made.response.signature),
      userHandle: made.response.userHandle ? text(made.response.userHandle) : null,
    });
    if (button.dataset.submit) return form.submit();
    if (form.elements.code) form.elements.code.required = false;
    say(form, "The passkey answered; go on with the button below.");
  };

  const attempt = async (form, work) => {
    say(form, "Waiting for your passkey …");
    try {
      await work();
    } catch (error) {
      say(form, `The passkey was not used: ${error.message}`);
    }
  };

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.dataset.passkeyCreate || form.elements.passkey.value) return;
    event.preventDefault();
    attempt(form, () => create(form));
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-passkey-use]");
    if (button) attempt(button.form, () => use(button.form, button));
  });
})();
