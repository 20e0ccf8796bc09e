// Passkeys: asks the browser's authenticator, and sends its answer by the form of the button.
"use strict";

async function passkey(button) {
  const form = button.form, adds = button.dataset.passkey === "add";
  try {
    const csrf = new URLSearchParams({ csrf: form.elements.csrf ? form.elements.csrf.value : "" });
    const answer = await fetch(button.dataset.options, { method: "POST", body: csrf });
    if (!answer.ok) throw new Error(button.dataset.none);
    const asked = await answer.json(), from = adds ? "parseCreationOptionsFromJSON" : "parseRequestOptionsFromJSON";
    const publicKey = PublicKeyCredential[from](asked);
    const found = await navigator.credentials[adds ? "create" : "get"]({ publicKey });
    const proves = button.dataset.passkey === "prove";
    form.elements[proves ? "proof" : "credential"].value = JSON.stringify(found.toJSON());
    if (proves) button.textContent = button.dataset.done;
    else form.submit();
  } catch (error) {
    const said = form.querySelector("[role=alert]") || form.insertBefore(document.createElement("p"), button);
    said.className = "notice bad";
    said.setAttribute("role", "alert");
    said.textContent = error.name === "NotAllowedError" ? button.dataset.unused : error.message;
    said.hidden = false;
  }
}

for (const button of document.querySelectorAll("[data-passkey]")) {
  button.hidden = !("PublicKeyCredential" in window && PublicKeyCredential.parseRequestOptionsFromJSON);
  button.addEventListener("click", () => { if (button.dataset.passkey === "prove" || button.form.reportValidity()) passkey(button); });
}
