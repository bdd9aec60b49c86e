// A link such as login#token=… logs in: what follows # is sent to no server and written to no log.
const form = document.querySelector("form");

function follow() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return;
  history.replaceState(null, "", location.pathname);
  form.token.value = token;
  form.requestSubmit();
}

if (form.dataset.failed) form.querySelector("[role=alert]").hidden = false;
addEventListener("hashchange", follow);
follow();
