# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class Oauth::TokensController < ActionController::API
  before_action :identify

  def create
    response.headers["Cache-Control"] = "no-store"
    case params[:grant_type]
    when "authorization_code" then exchange
    when "client_credentials" then issue(nil, params[:scope].presence || "read")
    else refuse("unsupported_grant_type")
    end
  end

  def revoke
    OauthAccessToken.find_by(token: params[:token], application: @application, revoked_at: nil)&.revoke!
    render json: {}
  end

  private

  def identify
    basic = ActionController::HttpAuthentication::Basic
    given = basic.has_basic_credentials?(request) ? basic.user_name_and_password(request) : params.values_at(:client_id, :client_secret)
    @application = OauthApplication.find_by(uid: given.first, secret: given.last)
    refuse("invalid_client", 401) unless @application
  end

  def exchange
    grant = OauthAccessGrant.usable.find_by(token: params[:code], application: @application, redirect_uri: params[:redirect_uri])
    return refuse("invalid_grant") unless grant&.verified_by?(params[:code_verifier])

    grant.update!(revoked_at: Time.current)
    issue(grant.resource_owner, grant.scopes)
  end

  def issue(owner, scopes)
    return refuse("invalid_scope") unless @application.allows?(scopes.split)

    token = OauthAccessToken.create!(application: @application, resource_owner: owner, scopes:)
    render json: { access_token: token.token, token_type: "Bearer", scope: token.scopes, created_at: token.created_at.to_i }
  end

  def refuse(error, status = 400) = render(json: { error:, error_description: error.humanize }, status:)
end
