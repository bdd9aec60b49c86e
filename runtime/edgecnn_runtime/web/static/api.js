// The API of this daemon; every address is relative, so the page works under any path.

export class ApiError extends Error {
  constructor(problem, status) {
    super(problem.detail || problem.title || `HTTP ${status}`);
    this.status = status;
  }
}

async function send(method, path, body, more = {}) {
  const headers = { "X-Edgecnn": "1", ...more };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const response = await fetch(path, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (response.status === 401) location.replace("login");
  if (!response.ok) throw new ApiError(await response.json().catch(() => ({})), response.status);
  return response;
}

async function request(...parts) {
  const response = await send(...parts);
  return response.status === 204 ? null : response.json();
}

const path = (camera) => `api/cameras/${encodeURIComponent(camera)}`;

export const api = {
  status: () => request("GET", "api/status"),
  cameras: () => request("GET", "api/cameras"),
  areas: (camera) => request("GET", `${path(camera)}/areas`),
  /** The areas, and by what the server tells whether somebody else has changed them meanwhile. */
  async areasToEdit(camera) {
    const response = await send("GET", `${path(camera)}/areas`);
    return [await response.json(), response.headers.get("ETag")];
  },
  setAreas: (camera, areas, revision) =>
    request("PUT", `${path(camera)}/areas`, areas, { "If-Match": revision }),
  pause: (camera) => request("POST", `${path(camera)}/pause`),
  resume: (camera) => request("POST", `${path(camera)}/resume`),
  snapshot: (camera) => `${path(camera)}/snapshot`,
  events(query) {
    const parts = Object.entries(query).filter(([, value]) => value !== "" && value !== undefined);
    return request("GET", `api/events?${new URLSearchParams(parts)}`);
  },
  event: (id) => request("GET", `api/events/${encodeURIComponent(id)}`),
  evidence: (id, name) => `api/events/${encodeURIComponent(id)}/evidence/${encodeURIComponent(name)}`,
};
