//! The login side of Rollcall: AuthService and UserService.
