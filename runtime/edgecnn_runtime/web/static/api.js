// The API of this daemon; every address is relative, so the page works under any path.

export class ApiError extends Error {
  constructor(problem, status) {
    super(problem.detail || problem.title || `HTTP ${status}`);
    this.status = status;
  }
}

async function request(method, path, body) {
  const headers = { "X-Edgecnn": "1" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const response = await fetch(path, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (response.status === 401) location.replace("login");
  if (!response.ok) throw new ApiError(await response.json().catch(() => ({})), response.status);
  return response.status === 204 ? null : response.json();
}

const path = (camera) => `api/cameras/${encodeURIComponent(camera)}`;

export const api = {
  status: () => request("GET", "api/status"),
  cameras: () => request("GET", "api/cameras"),
  areas: (camera) => request("GET", `${path(camera)}/areas`),
  setAreas: (camera, areas) => request("PUT", `${path(camera)}/areas`, areas),
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
