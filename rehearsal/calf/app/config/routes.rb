# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

Rails.application.routes.draw do
  get "/health", to: "health#show"
  root "pages#home"

  get "/auth/sign_in", to: "sessions#new"
  post "/auth/sign_in", to: "sessions#create"
  delete "/auth/sign_out", to: "sessions#destroy"
  get "/auth/confirmation", to: "sessions#confirm"

  get "/oauth/authorize", to: "oauth/authorizations#new"
  post "/oauth/authorize", to: "oauth/authorizations#create"
  delete "/oauth/authorize", to: "oauth/authorizations#destroy"
  get "/oauth/authorize/native", to: "oauth/authorizations#show"
  post "/oauth/token", to: "oauth/tokens#create"
  post "/oauth/revoke", to: "oauth/tokens#revoke"

  get "/.well-known/webfinger", to: "well_known#webfinger"
  get "/.well-known/nodeinfo", to: "well_known#nodeinfo_index"
  get "/nodeinfo/2.0", to: "well_known#nodeinfo"

  post "/inbox", to: "inboxes#create"
  post "/users/:username/inbox", to: "inboxes#create", format: false, constraints: { username: /[^\/]+/ }
  get "/users/:username", to: "accounts#show", as: :actor, constraints: { username: /[^\/.]+/ }
  get "/@:username", to: "accounts#show", as: :account_page, constraints: { username: /[^\/.]+/ }
  get "/@:username/:id", to: "accounts#status", constraints: { username: /[^\/.]+/, id: /\d+/ }

  namespace :api, format: false do
    scope "v:version", constraints: { version: /[12]/ } do
      get "instance", to: "instances#show"
      resources :media, only: %i[create show update]
    end
    scope "v1" do
      post "apps", to: "apps#create"
      get "apps/verify_credentials", to: "apps#verify_credentials"
      get "accounts/verify_credentials", to: "accounts#verify_credentials"
      get "accounts/lookup", to: "accounts#lookup"
      get "accounts/relationships", to: "accounts#relationships"
      resources :accounts, only: :show do
        get :statuses, on: :member
        post "follow", "unfollow", "block", "unblock", on: :member
      end
      resources :statuses, only: %i[create show destroy]
      resources :notifications, only: %i[index show]
      get "timelines/home", to: "timelines#home"
      get "timelines/public", to: "timelines#everyone"
      get "timelines/tag/:tag", to: "timelines#tag"
    end
    match "*path", to: "base#missing", via: :all
  end

  match "*path", to: "pages#missing", via: :all
end
