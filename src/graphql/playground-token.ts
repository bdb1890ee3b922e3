/** How a person at the playground says who they are, where tokens are asked for. */

/** A line above the editor. The token goes no further than this tab of the browser. */
export const TOKEN_FORM = `<form id="token-form" style="display:flex;gap:8px;align-items:center;padding:6px 12px;font:14px system-ui,sans-serif">
  <label for="token">Token</label>
  <input id="token" type="password" autocomplete="off" placeholder="paste a key or a JSON Web Token" style="flex:1;padding:4px 8px;font:inherit">
  <button style="padding:4px 12px;font:inherit">Use</button>
  <output id="token-state"></output>
</form>
<style>#root { height: calc(100vh - 44px) } .graphiql-container { height: 100% }</style>
`;

/**
 * Puts the token into every request of the page: the header over HTTP, unless one was written into GraphiQL's headers editor, and the
 * payload of the first message over WebSocket, where browsers send no headers.
 */
export const SEND_TOKEN = `{
  const name = "recollect:token";
  const credential = () => {
    const token = sessionStorage.getItem(name);
    return token ? "Bearer " + token : null;
  };
  const plainFetch = window.fetch;
  window.fetch = async (address, options = {}) => {
    const headers = new Headers(options.headers);
    if (credential() && !headers.has("authorization")) headers.set("authorization", credential());
    const answer = await plainFetch(address, { ...options, headers });
    if (answer.status === 401) show("This server asks for a token that is good.");
    return answer;
  };
  const plainSend = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) {
    const message = credential() && typeof data === "string" ? JSON.parse(data) : {};
    const first = message.type === "connection_init";
    return plainSend.call(this, first ? JSON.stringify({ ...message, payload: { authorization: credential(), ...message.payload } }) : data);
  };
  const show = (text) => {
    const state = document.getElementById("token-state");
    if (state) state.textContent = text;
  };
  document.addEventListener("DOMContentLoaded", () => {
    show(credential() ? "A token is in use in this tab." : "This server asks for a token.");
    document.getElementById("token-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const token = document.getElementById("token").value.trim().replace(/^Bearer +/i, "");
      if (token) sessionStorage.setItem(name, token);
      else sessionStorage.removeItem(name);
      // The schema is asked for when the page begins.
      location.reload();
    });
  });
}`;
