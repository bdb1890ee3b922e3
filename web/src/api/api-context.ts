import { createContext, useContext } from "react";
import type { Api } from "./api.ts";

const ApiContext = createContext<Api | null>(null);

export const ApiProvider = ApiContext.Provider;

/** The server as the user of this page sees it. */
export function useApi(): Api {
  const api = useContext(ApiContext);
  if (!api) {
    throw new Error("used outside of ApiProvider");
  }
  return api;
}
