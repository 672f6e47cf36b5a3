# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class Api::AppsController < Api::BaseController
  requires_scope "read", only: :verify_credentials

  def create
    uris = Array(params[:redirect_uris]).join("\n")
    application = OauthApplication.create!(
      name: params[:client_name], redirect_uri: uris, scopes: params[:scopes].presence || "read", website: params[:website]
    )
    render json: Rest.application(application).merge(client_id: application.uid, client_secret: application.secret)
  end

  def verify_credentials = render(json: Rest.application(token.application))
end
