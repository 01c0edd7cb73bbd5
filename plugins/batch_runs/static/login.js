// Airflow 3.0 keeps a login in its UI's store, which a page's request does not take along; a cookie of these pages does.
"use strict";

(() => {
  const token = localStorage.getItem("token");
  if (!token || document.cookie.split("; ").includes(`_token=${token}`)) return;
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `_token=${token}; path=${new URL(".", location.href).pathname}; samesite=strict${secure}`;
  location.reload();
})();
