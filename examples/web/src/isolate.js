// Threads need two headers (COOP and COEP) that static hosts cannot be told to send: this service worker adds them to
// what the page loads from its own folder. It keeps nothing and asks no other host.
self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const { scope } = self.registration;
  const [address] = event.request.url.split(/[?#]/);
  if (!address.startsWith(scope)) return;
  if (event.request.mode === "navigate" && ![scope, `${scope}index.html`].includes(address)) return; // another page
  event.respondWith(
    fetch(event.request).then((answer) => {
      if (answer.status === 0 || answer.type === "opaque") return answer;
      const headers = new Headers(answer.headers);
      headers.set("Cross-Origin-Opener-Policy", "same-origin");
      headers.set("Cross-Origin-Embedder-Policy", "require-corp");
      headers.set("Cross-Origin-Resource-Policy", "same-origin");
      const body = [101, 204, 205, 304].includes(answer.status) ? null : answer.body;
      return new Response(body, { status: answer.status, statusText: answer.statusText, headers });
    }),
  );
});
